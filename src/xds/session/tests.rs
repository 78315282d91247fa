//! Every row of xds.md 3.2 to 3.9, in both variants, as scripts.

mod gates;
mod property;
mod reconnects;
mod removals;
mod script;
mod subscriptions;
mod withholding;
