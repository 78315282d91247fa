//! What Convoy would send to Envoy, as text beside the input and before the eyes of a real Envoy.
//!
//! `resources/*.yaml` are the printed resources of small models, `fleets/<case>/` whole fleets
//! with all that they are translated to; `UPDATE_GOLDEN=1` rewrites both. The oracle is stock
//! Envoy in its validation mode: `ENVOY_BIN`, else `envoy` in `PATH`. Without one these tests
//! fail; they are never skipped. `tests/envoy` shows the same fleets to an Envoy that runs.

// Lints know tests by their attribute and miss the helpers around them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod bootstrap;
mod cases;
mod envoy;
mod faults;
mod fixture;
mod fleets;
mod manifests;
mod poison;
mod properties;
mod regex;
mod resources;
mod sketch;
mod wrapped;
