use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::ingress::{
    assemble,
    fixture::{LISTENERS, certs, check, rows},
};

#[test]
fn each_host_has_its_own_certificate_and_stays_on_plaintext() {
    let script = "ns/a @1
           tls a.com cert-a
           tls b.com cert-b
           rule a.com exact /p a
           rule b.com exact /p b
           rule c.com exact /p c";
    check(script, "a.com", "exact /p -> ns/a\ntls ns/cert-a: the same");
    check(script, "b.com", "exact /p -> ns/b\ntls ns/cert-b: the same");
    check(script, "c.com", "exact /p -> ns/c");
}

#[test]
fn an_entry_without_hosts_is_for_the_others_and_the_default() {
    let script = "ns/a @1
           tls - rest
           tls a.com cert-a
           default spare
           rule a.com exact /p a
           rule b.com prefix / b";
    check(
        script,
        "a.com",
        "exact /p -> ns/a
         any -> ns/spare
         tls ns/cert-a: the same
         default tls ns/rest",
    );
    check(script, "b.com", "any -> ns/b\ntls ns/rest: the same\ndefault tls ns/rest");
    check(script, "-", "any -> ns/spare\ntls ns/rest: the same\ndefault tls ns/rest");
}

#[test]
fn tls_of_the_default_rule_needs_an_entry_without_hosts() {
    check(
        "ns/a @1
           tls a.com cert
           default spare
           rule a.com exact /p a",
        "-",
        "any -> ns/spare",
    );
}

#[test]
fn fault_f08_a_secret_that_cannot_be_served_leaves_the_host_on_plaintext() {
    let ingress = |secret: &str| format!("ns/a @1\ntls h {secret}\nrule h exact /p a");
    check(
        &ingress("missing"),
        "h",
        "exact /p -> ns/a
         ns/a: spec.tls[0].secretName: SecretNotFound: \
         Secret ns/missing does not exist: not served over TLS",
    );
    check(
        &ingress("broken"),
        "h",
        "exact /p -> ns/a
         ns/a: spec.tls[0].secretName: InvalidSecret: \
         Secret ns/broken: the key is another's: not served over TLS",
    );
    check(
        &ingress("stale"),
        "h",
        "exact /p -> ns/a
         tls ns/stale: the same
         ns/a: spec.tls[0].secretName: InvalidSecret: \
         Secret ns/stale: it has expired: its last good pair is served",
    );
}

#[test]
fn the_oldest_ingress_with_tls_decides() {
    let script = |old: &str| {
        format!(
            "b/young @2
               tls h cert
               rule h exact /young young
             a/old @1
               tls h {old}
               rule h exact /old old
             a/plain @0
               rule h exact /plain plain"
        )
    };
    let conflict = "b/young: spec.tls[0]: RuleConflict: \
                    h is served with the Secret of Ingress a/old (spec.tls[0])";
    let routes = "exact /plain -> a/plain\nexact /young -> b/young\nexact /old -> a/old";
    check(&script("cert"), "h", &format!("{routes}\ntls a/cert: the same\n{conflict}"));
    check(
        &script("missing"),
        "h",
        &format!(
            "{routes}
             a/old: spec.tls[0].secretName: SecretNotFound: \
             Secret a/missing does not exist: not served over TLS
             {conflict}"
        ),
    );
}

#[test]
fn secrets_that_do_not_exist_are_depended_on() {
    let (rows, _) = rows("ns/a @1\ntls h missing\ntls - rest\nrule h exact /p a");
    let (row, _) = assemble(&Host::Exact("h".into()), &rows, &LISTENERS, &certs);
    let names: Vec<_> = row.secrets.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["ns/missing", "ns/rest"]);
    assert_eq!((row.certificate, row.default_certificate), (None, None));
}

/// The chains of a gateway that serves all hosts of the script.
#[track_caller]
fn check_chains(script: &str, expect: &str) {
    let (rows, _) = rows(script);
    let mut by_host: BTreeMap<Host, Vec<Arc<IngressRow>>> = BTreeMap::new();
    for row in &rows {
        for host in row.hosts() {
            by_host.entry(host).or_default().push(row.clone());
        }
    }
    let hosts: Vec<_> = by_host
        .iter()
        .map(|(host, rows)| (host.clone(), assemble(host, rows, &LISTENERS, &certs).0))
        .collect();
    let chains = |reversed: bool| {
        let mut hosts: Vec<_> = hosts.iter().map(|(host, row)| (host, row)).collect();
        if reversed {
            hosts.reverse();
        }
        tls_hosts(ListenerKey::HTTPS, hosts)
    };
    assert_eq!(chains(false), chains(true));
    let shown: Vec<_> =
        chains(false).chains.iter().map(|(host, secret)| format!("{host}={secret}")).collect();
    assert_eq!(shown.join(" "), expect, "{script}");
}

#[test]
fn chains_of_a_listener() {
    check_chains("ns/a @1\nrule a.com exact /p a", "");
    check_chains("ns/a @1\ntls a.com cert\nrule a.com exact /p a", "a.com=ns/cert");
    check_chains("ns/a @1\ntls *.com cert\nrule *.com exact /p a", "*.com=ns/cert");
    check_chains("ns/a @1\ntls - cert\nrule a.com exact /p a", "a.com=ns/cert *=ns/cert");
    check_chains("ns/a @1\ntls - cert\ndefault a", "*=ns/cert");
    check_chains("ns/a @1\ntls - missing\ndefault a", "");
    check_chains(
        "ns/young @2
           tls - young
           rule a.com exact /p a
         ns/old @1
           tls - old
           rule b.com exact /p a",
        "a.com=ns/young b.com=ns/old *=ns/old",
    );
    check_chains(
        "ns/young @2
           tls - young
           rule a.com exact /p a
         ns/broken @1
           tls - broken
           rule b.com exact /p a",
        "a.com=ns/young *=ns/young",
    );
}

#[test]
fn states_of_a_secret() {
    let secret = |pair: bool, problem: Option<&str>| store::Secret {
        name: ObjectName::new("ns", "cert"),
        pair: pair.then(|| Arc::new(store::KeyPair { chain: vec![1], key: vec![2] })),
        problem: problem.map(Into::into),
    };
    let problem = || Some("bad".to_owned());
    for (secret, expect) in [
        (None, CertState::Missing),
        (Some(secret(true, None)), CertState::Usable { problem: None }),
        (Some(secret(true, Some("bad"))), CertState::Usable { problem: problem() }),
        (Some(secret(false, Some("bad"))), CertState::Unusable("bad".into())),
        (Some(secret(false, None)), CertState::Unusable("it holds no certificate".into())),
    ] {
        assert_eq!(CertState::of(secret.as_ref()), expect, "{secret:?}");
    }
}
