use super::*;
use crate::{
    api::MseIngressConfigSpec,
    gateway::parse,
    key::ObjectName,
    store::{self, GatewaySpec},
};

/// The gateway with these annotations, `key=value`, of which each is below `convoy.dev/`.
fn gateway(annotations: &str, defaults: &GatewayDefaults) -> (Gateway, Vec<String>) {
    let pairs = annotations.split_whitespace().filter_map(|pair| pair.split_once('='));
    let own = pairs.map(|(key, value)| (format!("convoy.dev/{key}").into(), value.into()));
    let members = ("mse.alibabacloud.com/remote-clusters".into(), "c1,c2,c3".into());
    let object = store::Gateway {
        name: ObjectName::cluster_scoped("gw"),
        uid: "".into(),
        generation: 0,
        annotations: own.chain([members]).collect(),
        spec: GatewaySpec::Mse(MseIngressConfigSpec::default()),
    };
    let (gateway, diags) = parse(&object, defaults);
    (gateway.unwrap(), diags.iter().map(ToString::to_string).collect())
}

fn at(place: &str) -> Locality {
    let (region, zone) = place.split_once('/').unwrap_or((place, ""));
    Locality { region: region.into(), zone: zone.into() }
}

#[test]
fn members_are_ranked_by_what_the_gateway_prefers() {
    let members = ["r1/a", "r1/b", "r1", "r2/a", ""];
    for (annotations, expect) in [
        ("", [0, 0, 0, 0, 0]),
        ("region=r1 zone=a", [0, 0, 0, 0, 0]),
        ("prefer=region region=r1", [0, 0, 0, 1, 1]),
        ("prefer=region region=r3", [1, 1, 1, 1, 1]),
        ("prefer=zone region=r1 zone=a", [0, 1, 1, 2, 2]),
        ("prefer=zone region=r2 zone=a", [2, 2, 2, 0, 2]),
        // It does not know where it is.
        ("prefer=region", [0, 0, 0, 0, 0]),
        ("prefer=zone zone=a", [0, 0, 0, 0, 0]),
        ("prefer=zone region=r1", [0, 0, 0, 1, 1]),
        ("prefer=nearest region=r1", [0, 0, 0, 0, 0]),
    ] {
        let (gateway, _) = gateway(annotations, &GatewayDefaults::default());
        let ranks = members.map(|place| proximity(&gateway, &at(place)));
        assert_eq!(ranks, expect, "{annotations}");
    }
}

#[test]
fn an_operator_says_where_gateways_are_unless_they_do() {
    let defaults =
        GatewayDefaults { region: "r1".into(), zone: "a".into(), ..GatewayDefaults::default() };
    for (annotations, expect) in [
        ("prefer=zone", "r1/a"),
        ("prefer=zone zone=b", "r1/b"),
        ("prefer=region region=r2", "r2/a"),
        ("", "/"),
    ] {
        let (gateway, diags) = gateway(annotations, &defaults);
        let Preference { region, zone, .. } = gateway.preference;
        assert_eq!((format!("{region}/{zone}").as_str(), diags), (expect, vec![]), "{annotations}");
    }
}

#[test]
fn a_gateway_that_does_not_know_where_it_is_says_so() {
    let at = "MseIngressConfig gw: metadata.annotations[convoy.dev/prefer]";
    for (annotations, expect) in [
        (
            "prefer=region",
            "warning: @: RegionUnknown: the region of this gateway is not known: neither its \
             annotation `convoy.dev/region` nor the flag `--region` says it; every member is as \
             near as any other",
        ),
        (
            "prefer=zone region=r1",
            "warning: @: RegionUnknown: the zone of this gateway is not known: neither its \
             annotation `convoy.dev/zone` nor the flag `--zone` says it; the members of its region \
             are preferred",
        ),
        (
            "prefer=far region=r1",
            "error: @: InvalidAnnotation: \"far\" is not `region` or `zone`; none is used",
        ),
    ] {
        let (_, diags) = gateway(annotations, &GatewayDefaults::default());
        assert_eq!(diags, [expect.replace('@', at)], "{annotations}");
    }
}

#[test]
fn members_that_are_nowhere_are_named() {
    let place = [at("r1/a"), at("r1"), at("")];
    let locality = |id: &MemberId| match id.as_str() {
        "c1" => Some(place[0].clone()),
        "c2" => Some(place[1].clone()),
        _c3 => Some(place[2].clone()),
    };
    let far = "the region of member c3 is not known: it counts as far away";
    for (annotations, expect) in [
        ("", &[][..]),
        ("prefer=region region=r1", &[far]),
        (
            "prefer=zone region=r1 zone=a",
            &["the zone of member c2 is not known: it counts as in another zone", far],
        ),
    ] {
        let (gateway, _) = gateway(annotations, &GatewayDefaults::default());
        let found: Vec<_> =
            unplaced(&gateway, &locality).into_iter().map(|diag| diag.message).collect();
        assert_eq!(found, expect, "{annotations}");
        assert!(unplaced(&gateway, &|_| None).is_empty(), "an unregistered member is no news");
    }
}
