use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::*;
use crate::{
    diag::Field,
    key::{BackendKey, ObjectKind, ObjectName, ObjectRef, PortRef},
    model::{Subset, Target},
};

/// `cookie sid`, `cookie sid 60`, `source`, `query q`; anything else balances in turn.
fn balance(text: &str) -> Balance {
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["cookie", name] => Balance::Hash(HashKey::Cookie { name: name.into(), ttl: None }),
        ["cookie", name, ttl] => {
            let ttl = Some(Duration::from_secs(ttl.parse().unwrap()));
            Balance::Hash(HashKey::Cookie { name: name.into(), ttl })
        }
        ["source"] => Balance::Hash(HashKey::SourceAddress),
        ["query", name] => Balance::Hash(HashKey::Query(name.into())),
        ["least"] => Balance::LeastRequest,
        _ => Balance::RoundRobin,
    }
}

fn arm(own: &&str) -> Arm {
    let name = ObjectName::new("shop", "web");
    let backend = BackendKey { service: name.clone(), port: PortRef::First };
    let target = Target { balance: balance(own), ..Target::of(backend, Subset::default()) };
    Arm {
        target: Arc::new(target),
        weight: NonZeroU32::MIN,
        origin: Field::of(&ObjectRef::fleet(ObjectKind::Ingress, name)),
    }
}

/// As [`balance`] reads them.
fn shown(policy: HashPolicy) -> String {
    assert!(policy.terminal, "the first key that is found decides");
    match policy.policy_specifier.unwrap() {
        PolicySpecifier::Cookie(cookie) => {
            assert_eq!(cookie.path, "/");
            let ttl = cookie.ttl.map(|ttl| format!(" {}", ttl.seconds)).unwrap_or_default();
            format!("cookie {}{ttl}", cookie.name)
        }
        PolicySpecifier::ConnectionProperties(own) => {
            assert!(own.source_ip);
            "source".to_owned()
        }
        PolicySpecifier::QueryParameter(own) => format!("query {}", own.name),
        other @ (PolicySpecifier::Header(_) | PolicySpecifier::FilterState(_)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn arms_share_one_list_of_keys() {
    for (arms, expect) in [
        (&["turn"][..], &[][..]),
        (&["least", "turn"], &[]),
        (&["cookie sid"], &["cookie sid"]),
        (&["cookie sid 0"], &["cookie sid 0"]),
        (&["source", "turn"], &["source"]),
        (&["turn", "query q"], &["query q"]),
        // The main's decides where it is found.
        (&["cookie sid 60", "source"], &["cookie sid 60", "source"]),
        (&["source", "source"], &["source"]),
        // Two cookies of one name would be given twice.
        (&["cookie sid", "query q", "cookie sid 60"], &["cookie sid 60", "query q"]),
        (&["cookie sid 90", "cookie sid 60"], &["cookie sid 90"]),
        (&["cookie a 1", "cookie b 1"], &["cookie a 1", "cookie b 1"]),
    ] {
        let arms: Vec<_> = arms.iter().map(arm).collect();
        let found: Vec<_> = policies(&arms).into_iter().map(shown).collect();
        assert_eq!(found, expect);
    }
}
