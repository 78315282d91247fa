//! Which endpoints a member offers.

use proptest::prelude::*;

use super::*;

/// A shard in few words: `10.0.0.1:80=pod …`; what is wrong is not said here.
fn shown(shards: &ServiceShards, port: &PortRef) -> String {
    let Some(Shard { protocol: _, replicas: _, endpoints }) = shards.shard(port) else {
        return "none".into();
    };
    let endpoint = |e: &crate::model::ShardEndpoint| match e.labels.get("pod") {
        Some(pod) => format!("{}={pod}", e.address),
        None => e.address.to_string(),
    };
    endpoints.iter().map(endpoint).collect::<Vec<_>>().join(" ")
}

#[test]
fn row_028_and_029_ports_are_resolved_by_name_in_each_member() {
    let service = service("svc", &["http:80", "admin:81"]);
    let slices = [
        slice("s1", &[("http", 8080), ("admin", 9000)], &["10.0.0.2", "10.0.0.1"]),
        slice("s2", &[("http", 9090)], &["10.0.0.3"]),
    ];
    let (shards, diags) = shards_of(&service, &slices);
    assert_eq!(diags, []);
    for (by, expect) in [
        (port("80"), "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:9090"),
        (port("http"), "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:9090"),
        (PortRef::First, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:9090"),
        (port("admin"), "10.0.0.1:9000 10.0.0.2:9000"),
        (port("8080"), "none"),
        (port("other"), "none"),
    ] {
        assert_eq!(shown(&shards, &by), expect, "{by}");
    }
}

#[test]
fn row_022_only_ready_endpoints_and_each_once() {
    let service = service("svc", &[":80"]);
    let slices = [
        slice("s1", &[("", 80)], &["10.0.0.1=p1", "-10.0.0.2=p2", "10.0.0.3"]),
        slice("s2", &[("", 80)], &["10.0.0.3=p3", "10.0.0.1=p0"]),
    ];
    let expect = "10.0.0.1:80=p1 10.0.0.3:80=p3";
    assert_eq!(shown(&shards_of(&service, &slices).0, &PortRef::First), expect);
    let [s1, s2] = slices;
    assert_eq!(shown(&shards_of(&service, &[s2, s1]).0, &PortRef::First), expect);
}

#[test]
fn only_the_first_family_counts() {
    let v4 = slice("s1", &[("", 80)], &["10.0.0.1"]);
    let mut v6 = slice("s2", &[("", 80)], &["fd00::1"]);
    v6.family = AddressFamily::V6;
    let mut fqdn = slice("s3", &[("", 80)], &["a.example"]);
    fqdn.family = AddressFamily::Other;
    let slices = [v4, v6, fqdn];
    let mut service = service("svc", &[":80"]);
    let (shards, diags) = shards_of(&service, &slices);
    assert_eq!((shown(&shards, &PortRef::First).as_str(), diags), ("10.0.0.1:80", vec![]));
    service.prefers_ipv6 = true;
    let (shards, diags) = shards_of(&service, &slices);
    assert_eq!((shown(&shards, &PortRef::First).as_str(), diags), ("[fd00::1]:80", vec![]));
}

#[test]
fn fault_f20_forbidden_endpoints_are_dropped_and_said() {
    let service = service("svc", &[":80", "zero:81"]);
    let slices = [
        slice(
            "s1",
            &[("", 80), ("zero", 0)],
            &["10.0.0.1", "169.254.169.254", "-127.0.0.1", "224.0.0.1"],
        ),
        slice("s2", &[("", 80)], &["127.0.0.1", "junk", "fd00::1", "10.0.0.2"]),
    ];
    let (shards, diags) = shards_of(&service, &slices);
    assert_eq!(shown(&shards, &PortRef::First), "10.0.0.1:80 10.0.0.2:80");
    assert_eq!(shown(&shards, &port("zero")), "");
    let said: Vec<_> = diags.iter().map(Diag::to_string).collect();
    assert_eq!(
        said,
        [
            "error: EndpointSlice web/s1 of member c1: ports: ForbiddenAddress: port `zero` is 0; its \
         endpoints are not served",
            "error: EndpointSlice web/s1 of member c1: endpoints[1].addresses[0]: ForbiddenAddress: \
         `169.254.169.254` is a link-local address, endpoint dropped; so are 1 other endpoints of \
         the slice",
            "error: EndpointSlice web/s2 of member c1: endpoints[1].addresses[0]: InvalidField: not an \
         address of the slice's type, endpoint dropped; so are 1 other endpoints of the slice",
            "error: EndpointSlice web/s2 of member c1: endpoints[0].addresses[0]: ForbiddenAddress: \
         `127.0.0.1` is a loopback address, endpoint dropped",
        ]
    );
    let rules = Rules { allow_loopback: true, ..strict() };
    let allowed = shards_under(rules, &service, &slices).0;
    assert_eq!(shown(&allowed, &PortRef::First), "10.0.0.1:80 10.0.0.2:80 127.0.0.1:80");
}

#[test]
fn fault_s17_a_member_exports_addresses_of_its_own_ranges_only() {
    let service = service("svc", &[":80"]);
    let slices = [slice("s1", &[("", 80)], &["10.1.0.1", "10.2.0.1", "169.254.169.254"])];
    let check = |ranges: &[&str], expect: &str, findings: &[&str]| {
        let ranges: Vec<_> = ranges.iter().map(|own| Cidr::parse(own).unwrap()).collect();
        let rules = Rules { allowed: Some(&ranges), ..strict() };
        let (shards, diags) = shards_under(rules, &service, &slices);
        assert_eq!(shown(&shards, &PortRef::First), expect);
        let said: Vec<_> = diags.iter().map(|diag| diag.message.as_str()).collect();
        assert_eq!(said, findings);
    };
    let link_local = "`169.254.169.254` is a link-local address, endpoint dropped";
    check(&["10.0.0.0/8"], "10.1.0.1:80 10.2.0.1:80", &[link_local]);
    let outside = "`10.2.0.1` is outside of the member's `allowedEndpointCIDRs`, endpoint dropped; \
                   so are 1 other endpoints of the slice";
    check(&["10.1.0.0/16", "0.0.0.0/32"], "10.1.0.1:80", &[outside]);
    let nobody = "`10.1.0.1` is outside of the member's `allowedEndpointCIDRs`, endpoint dropped; \
                  so are 2 other endpoints of the slice";
    check(&[], "", &[nobody]);
}

#[test]
fn fault_s17_external_names_are_never_resolved() {
    let service = Service { kind: ServiceKind::ExternalName, ..service("svc", &[":80"]) };
    let (shards, diags) = shards_of(&service, &[slice("s1", &[("", 80)], &["10.0.0.1"])]);
    assert_eq!(shown(&shards, &PortRef::First), "none");
    assert_eq!(
        diags[0].to_string(),
        "error: Service web/svc of member c1: spec.type: UnsupportedBackend: a Service of type \
         ExternalName is never resolved and offers no endpoint"
    );
}

#[test]
fn fault_s19_endpoints_of_a_service_are_limited() {
    let addresses: Vec<_> =
        (0..=MAX_ENDPOINTS).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let endpoints = |addresses: &[&str]| {
        let (shards, diags) =
            shards_of(&service("svc", &[":80"]), &[slice("s1", &[("", 80)], addresses)]);
        (shards.shard(&PortRef::First).unwrap().endpoints.len(), diags)
    };
    assert_eq!(endpoints(&addresses[1..]), (MAX_ENDPOINTS, vec![]));
    let (count, diags) = endpoints(&addresses);
    assert_eq!(count, MAX_ENDPOINTS);
    assert_eq!(
        diags[0].to_string(),
        "error: Service web/svc of member c1: spec.ports: LimitExceeded: port 80 has 5001 \
         endpoints; only the first 5000 are served"
    );
}

#[test]
fn protocols() {
    for (port, expect) in [
        (":80", Protocol::Http1),
        ("http:80", Protocol::Http1),
        ("http2:80", Protocol::Http2),
        ("http2-web:80", Protocol::Http2),
        ("grpc:80", Protocol::Http2),
        ("grpc-web:80", Protocol::Http2),
        ("h2c:80", Protocol::Http2),
        ("grpcish:80", Protocol::Http1),
        ("http:80:kubernetes.io/h2c", Protocol::Http2),
        ("http:80:grpc", Protocol::Http2),
        ("http:80:GRPC", Protocol::Http2),
        ("grpc:80:http", Protocol::Http1),
        ("web:80:kubernetes.io/ws", Protocol::Http1),
    ] {
        let (shards, _) = shards_of(&service("svc", &[port]), &[]);
        assert_eq!(shards.shard(&PortRef::First).unwrap().protocol, expect, "{port}");
    }
}

proptest! {
    #[test]
    fn the_order_of_slices_does_not_matter(
        slices in prop::collection::vec(
            prop::collection::vec((0..8u8, prop::sample::select(vec!["", "=a", "=b"])), 0..5),
            0..5,
        ).prop_map(|slices| {
            let text = |(host, pod): &(u8, &str)| format!("10.0.0.{host}{pod}");
            let of = |(idx, endpoints): (usize, &Vec<(u8, &str)>)| {
                let endpoints: Vec<_> = endpoints.iter().map(text).collect();
                let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
                slice(&format!("s{idx}"), &[("", 80)], &endpoints)
            };
            slices.iter().enumerate().map(of).collect::<Vec<_>>()
        }).prop_flat_map(|slices| (Just(slices.clone()), Just(slices).prop_shuffle())),
    ) {
        let service = service("svc", &[":80"]);
        let (one, other) = slices;
        prop_assert_eq!(shards_of(&service, &one).0, shards_of(&service, &other).0);
    }
}
