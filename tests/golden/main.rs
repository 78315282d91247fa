//! What Convoy would send to Envoy, as text beside the input and before the eyes of a real Envoy.
//!
//! `resources/*.yaml` are the printed resources of small models; `UPDATE_GOLDEN=1` rewrites them.
//! The oracle is stock Envoy in its validation mode: `ENVOY_BIN`, else `envoy` in `PATH`. Without
//! one these tests fail; they are never skipped.

// Lints know tests by their attribute and miss the helpers around them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod bootstrap;
mod edge;
mod envoy;
mod fixture;
mod regex;
mod resources;
