//! The account of the chart against the table in `src/rbac` (faults.md S3).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::program::{NAMESPACE, VALUES, convoy, objects, of_kind, pod, rendered};

/// Rules by kind and namespace of their role.
fn granted(objects: &[Value]) -> BTreeMap<(String, String), Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let place = |role: &Value| (text(&role["kind"]), text(&role["metadata"]["namespace"]));
    let roles = [of_kind(objects, "ClusterRole"), of_kind(objects, "Role")].concat();
    roles.into_iter().map(|role| (place(role), role["rules"].clone())).collect()
}

pub(crate) fn fault_s03_the_chart_grants_the_table_and_nothing_else() {
    let check = |values: Option<&str>, flags: &[&str]| {
        let table = convoy(&[&["account"][..], flags].concat()).unwrap();
        assert_eq!(granted(&rendered(values)), granted(&objects(&table)), "{values:?}");
    };
    let managed = "--manage-gateways";
    check(None, &[managed]);
    let service = "--publish-service=edge/envoy";
    let without = "--no-authority";
    check(Some("brought"), &["--fleet-network=underlay", service, without]);
    check(Some("development"), &[without, managed]);
    check(Some("everything"), &["--fleet-network=overlay", managed]);
    let secrets = "--secret-namespace=shop,convoy-system";
    check(Some("narrow"), &[secrets, service, managed]);
    // Of roles that somebody brings, none is made.
    assert!(granted(&rendered(Some("bare"))).is_empty());
}

pub(crate) fn every_role_is_bound_to_the_account_of_convoy() {
    for values in VALUES {
        let objects = rendered(values);
        let account = &pod(&objects)["spec"]["serviceAccountName"];
        let subjects = json!([{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]);
        for kind in ["ClusterRole", "Role"] {
            let (roles, bindings) =
                (of_kind(&objects, kind), of_kind(&objects, &format!("{kind}Binding")));
            assert_eq!(roles.len(), bindings.len(), "{values:?}");
            for (role, binding) in roles.iter().zip(bindings) {
                let place = |object: &Value| object["metadata"]["namespace"].clone();
                assert_eq!(place(role), place(binding), "{values:?}");
                assert_eq!(binding["subjects"], subjects, "{values:?}");
                assert_eq!(binding["roleRef"]["kind"], kind, "{values:?}");
                assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"], "{values:?}");
            }
        }
    }
}
