//! Rows of the behaviour table (semantics.md 9) that hold wherever the objects come from.
//!
//! Owns what a row does and expects. Must not know whether its [`Bed`] stands on a directory or on
//! real clusters: `tests/envoy` plays all of them on the one, `tests/kubernetes` those about the fleet
//! and its members on the other.

pub(crate) mod alb;
pub(crate) mod balance;
pub(crate) mod canary;
pub(crate) mod control_plane;
pub(crate) mod failover;
pub(crate) mod gateway;
pub(crate) mod placement;
pub(crate) mod subset;

use std::pin::Pin;

use crate::bed::{Bed, Variant};

/// Marks the lines of a row's output that are worth reading when it passes.
pub(crate) const FIGURE: &str = "figure: ";

/// Prints a measurement, also of a row that passes.
pub(crate) fn figure(text: &str) {
    println!("{FIGURE}{text}");
}

/// A test.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a mut Bed) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
    pub(crate) variants: &'static [Variant],
    /// Nothing else may run beside it.
    pub(crate) alone: bool,
}

/// Rows that need both cores: what they show depends on how fast Envoy follows.
pub(crate) fn alone(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().map(|row| Row { alone: true, ..row }).collect()
}

/// Both ways to speak xDS.
pub(crate) const BOTH: &[Variant] = &[Variant::Delta, Variant::Sotw];

/// A list of rows from functions `async fn(&mut Bed)`; the name of the function is the name of the
/// test.
macro_rules! rows {
    ($variants:expr; $($row:ident),+ $(,)?) => {
        pub(crate) fn rows() -> Vec<$crate::rows::Row> {
            vec![$($crate::rows::Row {
                name: stringify!($row),
                run: |bed| Box::pin($row(bed)),
                variants: $variants,
                alone: false,
            }),+]
        }
    };
}
pub(crate) use rows;
