use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use super::*;
use crate::{
    key::{ObjectName, PortRef},
    model::Subset,
};

fn check(probe: Probe, port: Option<u16>, protocol: Protocol) -> Option<pb::HealthCheck> {
    let service = ObjectName::new("shop", "web");
    let backend = BackendKey { service, port: PortRef::First };
    let health_check = Some(Arc::new(HealthCheck {
        probe,
        timeout: Duration::from_secs(5),
        interval: Duration::from_secs(2),
        healthy: NonZeroU32::new(3).unwrap(),
        unhealthy: NonZeroU32::new(4).unwrap(),
        port: port.and_then(NonZeroU16::new),
    }));
    of(&Target { health_check, ..Target::of(backend, Subset::default()) }, protocol)
}

fn ranges(ranges: &[(u16, u16)]) -> BTreeSet<StatusRange> {
    ranges.iter().map(|(first, last)| StatusRange::new(*first, *last).unwrap()).collect()
}

fn get() -> Probe {
    let statuses = ranges(&[(200, 299), (401, 401)]);
    Probe::Http { path: "/healthz?full=1".into(), method: ProbeMethod::Get, statuses }
}

fn request(built: pb::HealthCheck) -> HttpHealthCheck {
    match built.health_checker {
        Some(HealthChecker::HttpHealthCheck(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

#[test]
fn nothing_is_checked_unless_it_is_asked_for() {
    let service = ObjectName::new("shop", "web");
    let backend = BackendKey { service, port: PortRef::First };
    assert_eq!(of(&Target::of(backend, Subset::default()), Protocol::Http1), None);
}

#[test]
fn an_endpoint_is_checked_as_often_without_traffic() {
    let built = check(Probe::Tcp, None, Protocol::Http1).unwrap();
    assert_eq!(built.no_traffic_interval, built.interval);
    assert_eq!(built.interval, pack::duration(Duration::from_secs(2)));
    assert_eq!(built.timeout, pack::duration(Duration::from_secs(5)));
    assert_eq!(built.healthy_threshold, pack::uint(3));
    assert_eq!(built.unhealthy_threshold, pack::uint(4));
    let tcp = HealthChecker::TcpHealthCheck(TcpHealthCheck::default());
    assert_eq!(built.health_checker, Some(tcp), "only the connection");
}

#[test]
fn a_request_is_one_that_a_backend_expects() {
    let built = request(check(get(), None, Protocol::Http1).unwrap());
    assert_eq!((built.host.as_str(), built.path.as_str()), ("web.shop", "/healthz?full=1"));
    assert_eq!(built.method(), RequestMethod::Get);
    // Envoy's ranges end before their end.
    let range = |start, end| Int64Range { start, end };
    assert_eq!(built.expected_statuses, [range(200, 300), range(401, 402)]);
    assert_eq!(built.retriable_statuses, [range(100, 600)], "every bad answer counts as one");
    let head = Probe::Http {
        path: "/".into(),
        method: ProbeMethod::Head,
        statuses: ranges(&[(200, 200)]),
    };
    let built = request(check(head, None, Protocol::Http1).unwrap());
    assert_eq!(built.method(), RequestMethod::Head);
}

#[test]
fn an_endpoint_is_asked_in_its_protocol_unless_on_another_port() {
    for (protocol, port, expect) in [
        (Protocol::Http1, None, CodecClientType::Http1),
        (Protocol::Http2, None, CodecClientType::Http2),
        (Protocol::Http2, Some(8081), CodecClientType::Http1),
    ] {
        let built = request(check(get(), port, protocol).unwrap());
        assert_eq!(built.codec_client_type(), expect, "{protocol:?} {port:?}");
    }
}

#[test]
fn the_first_round_is_over_when_one_check_is() {
    for (timeout, interval, expect) in
        [(5_000, 2_000, 2_400), (500, 2_000, 700), (300_000, 60_000, 5_200)]
    {
        let check = HealthCheck {
            probe: Probe::Tcp,
            timeout: Duration::from_millis(timeout),
            interval: Duration::from_millis(interval),
            healthy: NonZeroU32::MIN,
            unhealthy: NonZeroU32::MIN,
            port: None,
        };
        assert_eq!(first_round(&check), Duration::from_millis(expect), "{timeout} {interval}");
    }
}

#[test]
fn only_status_codes_are_expected() {
    for (first, last, expect) in [
        (200, 299, true),
        (100, 599, true),
        (204, 204, true),
        (299, 200, false),
        (99, 200, false),
        (200, 600, false),
    ] {
        assert_eq!(StatusRange::new(first, last).is_some(), expect, "{first}-{last}");
    }
}
