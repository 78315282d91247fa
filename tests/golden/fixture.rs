//! Small models, written as short as they can be.

use std::{
    net::Ipv4Addr,
    num::{NonZeroU16, NonZeroU32},
    sync::Arc,
    time::Duration,
};

use convoy::{
    diag::Field,
    key::{BackendKey, GatewayId, MemberId, ObjectKind, ObjectName, ObjectRef, PortRef},
    model::{
        Action, Answer, Arm, Assignment, Balance, ClassRule, Condition, Cors, Edge, Filters, Form,
        Forward, Gateway, HashKey, HeaderEdit, HeaderValue, HealthCheck, Host, Ipv4Range, Listener,
        ListenerKey, LocalityShare, NewPath, Origin, PathMatch, Port, Preference, Probe,
        ProbeMethod, Protocol, RateLimit, Redirect, RedirectCode, Regex, Rewrite, Route, Scheme,
        Shape, StatusRange, Subset, Target, ValueMatch, VirtualHost, WeightedAddress,
    },
};

/// The whole of a Service.
pub(crate) fn service(name: &str) -> Target {
    Target::of(backend(name), Subset::default())
}

/// The endpoints of one member first.
pub(crate) fn in_member(name: &str, member: &str) -> Target {
    Target::of(backend(name), Subset { member: Some(member.into()), ..Subset::default() })
}

/// A Service whose endpoints are asked on a port of their own, and that keeps clients.
pub(crate) fn sticky(name: &str) -> Target {
    let statuses = [StatusRange::new(200, 299).unwrap(), StatusRange::new(401, 401).unwrap()];
    let probe = Probe::Http {
        path: "/healthz".into(),
        method: ProbeMethod::Head,
        statuses: statuses.into(),
    };
    let health_check = HealthCheck {
        probe,
        timeout: Duration::from_secs(5),
        interval: Duration::from_secs(2),
        healthy: NonZeroU32::new(3).unwrap(),
        unhealthy: NonZeroU32::new(3).unwrap(),
        port: NonZeroU16::new(8081),
    };
    let ttl = Some(Duration::from_secs(1000));
    Target {
        weights: [("c1", 80), ("c2", 20)]
            .map(|(id, n)| (MemberId::new(id).unwrap(), n))
            .into_iter()
            .collect(),
        health_check: Some(Arc::new(health_check)),
        balance: Balance::Hash(HashKey::Cookie { name: "sid".into(), ttl }),
        ..service(name)
    }
}

/// A Service whose endpoints are asked for connections only, and that the least busy one serves.
pub(crate) fn least_busy(name: &str) -> Target {
    let health_check = HealthCheck {
        probe: Probe::Tcp,
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(2),
        healthy: NonZeroU32::MIN,
        unhealthy: NonZeroU32::MIN,
        port: None,
    };
    Target {
        health_check: Some(Arc::new(health_check)),
        balance: Balance::LeastRequest,
        ..service(name)
    }
}

fn backend(name: &str) -> BackendKey {
    let port = PortRef::Number(80.try_into().unwrap());
    BackendKey { service: ObjectName::new("shop", name), port }
}

/// `web` spans members and speaks HTTP/1.1, `grpc…` speaks HTTP/2, `local…` lives in one member.
pub(crate) fn shape_of(target: &Target) -> Shape {
    let name = &target.backend().service.name;
    Shape {
        form: if name.starts_with("local") { Form::Plain } else { Form::Composite },
        protocol: if name.starts_with("grpc") { Protocol::Http2 } else { Protocol::Http1 },
        groups: target.chain.len().try_into().unwrap(),
    }
}

/// One member's share of a priority.
pub(crate) fn share(member: &str, endpoints: &[&str]) -> LocalityShare {
    LocalityShare {
        member: MemberId::new(member).unwrap(),
        region: String::new(),
        zone: String::new(),
        weight: endpoints.len().try_into().unwrap(),
        endpoints: endpoints.iter().map(|at| WeightedAddress::equal(at.parse().unwrap())).collect(),
    }
}

/// Priorities with the factor of several groups.
pub(crate) fn assignment(priorities: Vec<Vec<LocalityShare>>) -> Assignment {
    Assignment { priorities, overprovisioning: 10_000_000 }
}

/// The gateway `web` on loopback.
pub(crate) fn gateway() -> Gateway {
    Gateway {
        id: GatewayId::mse("web"),
        members: Arc::new([]),
        preference: Preference::default(),
        listen_address: [127, 0, 0, 1].into(),
        listeners: [(ListenerKey::HTTP, 8080), (ListenerKey::HTTPS, 8443)]
            .map(|(key, port)| (key, Listener { port: Port::direct(port), edge: Edge::DEFAULT }))
            .into(),
        ready_port: 19003,
        access_log: false,
        tracing: None,
        class_rule: ClassRule::None,
        watch_namespace: None,
    }
}

/// A field of the Ingress `shop/web`.
pub(crate) fn origin(field: &str) -> Field {
    let ingress = ObjectRef::fleet(ObjectKind::Ingress, ObjectName::new("shop", "web"));
    Field::of(&ingress).key(field)
}

/// Shares of the traffic.
pub(crate) fn forward(arms: &[(Target, u32)]) -> Action {
    let arms = arms.iter().map(|(target, weight)| Arm {
        target: Arc::new(target.clone()),
        weight: NonZeroU32::new(*weight).unwrap(),
        origin: origin("spec"),
    });
    let arms = arms.collect();
    Action::Forward(Forward { arms, timeout: None, per_try_timeout: None, rewrite: None })
}

/// A route with every kind of condition, and one of every kind of path and action.
pub(crate) fn hosts() -> Vec<VirtualHost> {
    let route = |path, conditions, action| {
        let filters = Filters::default();
        Route { origin: origin("spec"), path, conditions, action, filters }
    };
    let to = |name: &str| forward(&[(service(name), 1)]);
    let conditions = vec![
        Condition::Header("x-canary".into(), ValueMatch::Exact("always".into())),
        Condition::Header("x-user".into(), ValueMatch::OneOf(vec!["a.b".into(), "c".into()])),
        Condition::Header("x-agent".into(), ValueMatch::Contains(Regex::new("^v[12]").unwrap())),
        Condition::Query("q".into(), ValueMatch::Exact("1".into())),
        Condition::Cookie("sid".into(), "a+b".into()),
    ];
    let patient = Action::Forward(Forward {
        arms: vec![Arm {
            target: Arc::new(service("local")),
            weight: NonZeroU32::MIN,
            origin: origin("spec"),
        }],
        timeout: Some(Duration::from_secs(60)),
        per_try_timeout: Some(Duration::from_millis(1500)),
        rewrite: Some(Rewrite {
            pattern: Regex::new("^(?:(?i)(?:/p/(.*)).*)$").unwrap(),
            substitution: r"/x/\1".into(),
        }),
    });
    vec![
        VirtualHost {
            host: Host::Exact("a.com".into()),
            routes: vec![
                route(PathMatch::Exact("/exact".into()), conditions, to("grpc")),
                route(PathMatch::Prefix("/patient".into()), vec![], patient),
                route(
                    PathMatch::Prefix("/sticky".into()),
                    vec![],
                    forward(&[(sticky("web"), 80), (least_busy("local"), 20)]),
                ),
                route(PathMatch::Regex(Regex::new("/v[0-9]+/.*").unwrap()), vec![], to("web")),
                route(
                    PathMatch::Any,
                    vec![],
                    forward(&[(in_member("web", "c1"), 80), (service("web"), 20)]),
                ),
            ],
        },
        VirtualHost {
            host: Host::Wildcard("b.com".into()),
            routes: vec![route(PathMatch::Any, vec![], Action::RedirectToHttps)],
        },
        VirtualHost { host: Host::Any, routes: vec![route(PathMatch::Any, vec![], to("web"))] },
        VirtualHost { host: Host::Exact("alb.com".into()), routes: filtered() },
    ]
}

/// What only routes of an ALB have.
fn filtered() -> Vec<Route> {
    let text = |text: &str| Arc::<str>::from(text);
    let redirect = |path| {
        Action::Redirect(Redirect {
            code: RedirectCode::Found,
            scheme: Some(Scheme::Https),
            host: Some(text("b.com")),
            port: NonZeroU16::new(8443),
            path,
        })
    };
    let answer = Answer { status: 418, content_type: text("text/plain"), body: text("100% tea") };
    let insert = |name, value, replaces| HeaderEdit::Insert { name: text(name), value, replaces };
    let filters = Filters {
        limit: Some(RateLimit { total: NonZeroU32::new(50), each: NonZeroU32::new(5) }),
        cors: Some(Arc::new(Cors {
            origins: vec![
                Origin::Any,
                Origin::Exact(text("https://a.com")),
                Origin::Below { scheme: text("https://"), domain: text("foo.com") },
            ],
            methods: text("GET,PUT"),
            headers: text("x-a"),
            exposed: text("x-b"),
            credentials: true,
            max_age: 60,
        })),
        headers: vec![
            insert("x-share", HeaderValue::Text(text("100%")), true),
            insert("x-copy", HeaderValue::OfHeader(text("x-from")), false),
            HeaderEdit::Remove(text("x-gone")),
        ],
    };
    let range = |a, b, bits| Ipv4Range { network: Ipv4Addr::new(a, b, 0, 0), bits };
    let clients = Condition::Client(vec![range(10, 0, 8), range(172, 16, 12)]);
    let actions = [
        (forward(&[(service("web"), 1)]), filters),
        (redirect(NewPath::Same), Filters::default()),
        (redirect(NewPath::Around { before: text("/v2"), after: text("/") }), Filters::default()),
        (
            redirect(NewPath::Fixed { path: text("/a"), query: Some(text("x=1")) }),
            Filters::default(),
        ),
        (redirect(NewPath::Fixed { path: text("/a"), query: Some(text("")) }), Filters::default()),
        (Action::Answer(answer), Filters::default()),
        (Action::Deny, Filters::default()),
    ];
    let route = |(idx, (action, filters)): (usize, (Action, Filters))| Route {
        origin: origin("spec"),
        path: PathMatch::Exact(format!("/{idx}").into()),
        conditions: vec![clients.clone()],
        action,
        filters,
    };
    actions.into_iter().enumerate().map(route).collect()
}
