//! `cluster-weight.<member>`: the shares of members in the traffic of an Ingress (semantics.md 5.5).
//!
//! One weight that cannot be read takes all of them away: what is left would send everything to
//! the members that it names.

use crate::{
    diag::{Diag, Reason},
    ingress::annotation::{Annotations, Entry, value},
    key::MemberId,
    model::ClusterWeights,
};

/// What the key begins with; the member's id follows.
pub(super) const FAMILY: &str = "cluster-weight.";

/// The greatest weight. Weights are relative to their sum, whatever it is.
const MAX: u32 = 100;

/// Reads them. A canary has its own or none (semantics.md 4.5).
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> ClusterWeights {
    let entries = annotations.family(FAMILY);
    let read: Result<Vec<_>, Diag> = entries.iter().map(|(id, entry)| weight(id, entry)).collect();
    let refused = match (read, entries.first()) {
        (Err(refused), _) => refused,
        (Ok(weights), Some((_, first))) if weights.iter().all(|(_, weight)| *weight == 0) => {
            refuse(first, "every weight is 0")
        }
        (Ok(weights), _) => return weights.into_iter().collect(),
    };
    diags.push(refused);
    ClusterWeights::default()
}

/// # Errors
/// Says on the annotation why it is none.
fn weight(id: &str, entry: &Entry<'_>) -> Result<(MemberId, u32), Diag> {
    let Some(member) = MemberId::new(id) else {
        return Err(refuse(entry, &format!("{} cannot be the id of a cluster", value::quote(id))));
    };
    // `parse` would take a sign.
    let digits = Some(entry.value).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()).filter(|weight| *weight <= MAX) {
        Some(weight) => Ok((member, weight)),
        None => {
            let shown = value::quote(entry.value);
            Err(refuse(entry, &format!("{shown} is not a whole number from 0 to {MAX}")))
        }
    }
}

fn refuse(entry: &Entry<'_>, problem: &str) -> Diag {
    let message = format!("{problem}; the weights of clusters are ignored, every replica is equal");
    Diag::warning(&entry.at, Reason::InvalidAnnotation, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expect: &str) {
        let (weights, diags) = with(pairs, parse);
        let weights: Vec<_> = weights.iter().map(|(id, weight)| format!("{id}={weight}")).collect();
        let shown = if diags.is_empty() { weights.join(" ") } else { diags.join("\n") };
        assert_eq!(shown, expect, "{pairs:?}");
        assert!(diags.is_empty() || weights.is_empty(), "{pairs:?}: all or none are read");
    }

    #[test]
    fn weights_by_member() {
        let alb = |id: &str| format!("alb.ingress.kubernetes.io/cluster-weight.{id}");
        check(&[], "");
        check(&[("cluster-weight.c1", "80"), ("cluster-weight.c2", " 20 ")], "c1=80 c2=20");
        check(&[("cluster-weight.c-1.x_2", "100")], "c-1.x_2=100");
        check(&[("cluster-weight.c1", "1"), ("cluster-weight.c2", "0")], "c1=1");
        check(&[(&alb("c1"), "80"), (&alb("c2"), "20")], "c1=80 c2=20");
        check(&[(&alb("c1"), "80"), ("cluster-weight.c2", "20")], "c1=80 c2=20");
        check(&[(&alb("c1"), "80"), ("cluster-weight.c1", "20")], "c1=20");
    }

    #[test]
    fn row_173_one_that_is_refused_takes_all_away() {
        let effect = "the weights of clusters are ignored, every replica is equal";
        for (text, problem) in [
            ("x", "\"x\" is not a whole number from 0 to 100"),
            ("-1", "\"-1\" is not a whole number from 0 to 100"),
            ("+1", "\"+1\" is not a whole number from 0 to 100"),
            ("101", "\"101\" is not a whole number from 0 to 100"),
            ("0.5", "\"0.5\" is not a whole number from 0 to 100"),
            ("4294967297", "\"4294967297\" is not a whole number from 0 to 100"),
            ("", "\"\" is not a whole number from 0 to 100"),
        ] {
            let expect = format!("cluster-weight.c2: InvalidAnnotation: {problem}; {effect}");
            check(&[("cluster-weight.c1", "80"), ("cluster-weight.c2", text)], &expect);
        }
        check(
            &[("cluster-weight.c1", "0"), ("cluster-weight.c2", "0")],
            &format!("cluster-weight.c1: InvalidAnnotation: every weight is 0; {effect}"),
        );
        check(
            &[("cluster-weight.", "1")],
            &format!(
                "cluster-weight.: InvalidAnnotation: \"\" cannot be the id of a cluster; {effect}"
            ),
        );
    }
}
