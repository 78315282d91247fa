//! `order`: where the rules of an Ingress stand among those of others (semantics.md 2.4).

use crate::{
    diag::Diag,
    ingress::{
        annotation::{Annotations, value},
        dialect::Dialect,
        row::Order,
    },
};

/// What holds where an Ingress says nothing.
const DEFAULT: u16 = 10;

/// Reads it.
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Order {
    match annotations.dialect {
        Dialect::Mse => return Order::Age,
        Dialect::Alb => {}
    }
    match annotations.read("order", |text| value::number(text, 1..=1000), diags) {
        Some(number) => Order::Number { number, is_written: true },
        None => Order::Number { number: DEFAULT, is_written: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::{with, with_alb};

    #[test]
    fn orders() {
        let number = |number, is_written| Order::Number { number, is_written };
        for (pairs, expect, n_diags) in [
            (&[][..], number(10, false), 0),
            (&[("order", "1")], number(1, true), 0),
            (&[("order", "1000")], number(1000, true), 0),
            (&[("order", "10")], number(10, true), 0),
            (&[("order", "0")], number(10, false), 1),
            (&[("order", "1001")], number(10, false), 1),
            (&[("order", "+5")], number(10, false), 1),
            (&[("order", "first")], number(10, false), 1),
        ] {
            let (order, diags) = with_alb(pairs, parse);
            assert_eq!((order, diags.len()), (expect, n_diags), "{pairs:?}");
        }
        assert_eq!(with(&[("order", "1")], parse), (Order::Age, vec![]));
    }
}
