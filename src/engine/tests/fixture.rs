//! Small fleets of trimmed objects: gateway `main`, members c1 to c3, Services `svc-<n>`.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU16, sync::Arc};

use crate::{
    api::MseIngressConfigSpec,
    engine::{Engine, Settings},
    key::{GatewayId, MemberId, ObjectKind, ObjectName, PortRef, Scope},
    settings::{GatewayDefaults, Mechanisms},
    snapshot::{GatewayView, Kind, Version},
    store::{
        AddressFamily, Change, ClassParameters, Endpoint, EndpointSlice, Gateway, GatewaySpec,
        Health, Ingress, IngressBackend, IngressClass, IngressPath, IngressRule, IngressTls,
        KeyPair, Locality, Node, Object, PathType, Pod, Registered, Secret, Service, ServiceKind,
        ServicePort, TrafficPolicy,
    },
};

const NAMESPACE: &str = "demo";

/// An engine and the objects it was given first.
pub(super) struct Fleet {
    pub(super) engine: Engine,
    size: usize,
}

impl Fleet {
    /// `size` hosts, each with an Ingress and a Service with endpoints in c1 and c2.
    pub(super) fn of_size(size: usize) -> Fleet {
        let settings = Settings {
            mechanisms: Mechanisms::ALL,
            defaults: GatewayDefaults::default(),
            api_server: None,
        };
        let mut fleet = Fleet { engine: Engine::new(settings), size };
        let all = fleet.all();
        fleet.engine.tick(all);
        fleet
    }

    /// The same, before anything of this member was read.
    pub(super) fn unread(size: usize, member: &str) -> Fleet {
        let mut fleet = Fleet::of_size(0);
        fleet.engine = Engine::new(fleet.engine.settings.clone());
        fleet.size = size;
        let scope = Scope::Member(id(member));
        let is_known = |change: &Change| match change {
            Change::Upsert(at, _) | Change::Listed(at) | Change::Synced(at) => *at != scope,
            Change::Delete(..)
            | Change::Replace(..)
            | Change::Register(..)
            | Change::Unregister(_)
            | Change::Health(..)
            | Change::Report { .. } => true,
        };
        let all = fleet.all().into_iter().filter(is_known);
        fleet.engine.tick(all);
        fleet
    }

    /// Every object the fleet was made of.
    pub(super) fn all(&self) -> Vec<Change> {
        let mut all = vec![gateway("main", "mse", "c1,c2")];
        for member in ["c1", "c2", "c3"] {
            all.push(Change::Register(id(member), Registered::default()));
            all.push(synced(member));
        }
        for n in 0..self.size {
            let service_name = format!("svc-{n}");
            all.push(ingress(
                &format!("web-{n}"),
                &format!("host-{n}.example.com"),
                &service_name,
                &[],
            ));
            for (member, replicas) in [("c1", 3), ("c2", 1)] {
                all.push(service(member, &service_name, false));
                all.push(slice(member, &service_name, replicas));
            }
        }
        all
    }

    pub(super) fn view(&self) -> Arc<GatewayView> {
        self.engine.views()[&GatewayId::mse("main")].clone()
    }

    /// Names and versions of everything published.
    pub(super) fn fingerprint(&self) -> Vec<(Kind, Arc<str>, Version)> {
        let view = self.view();
        let rows = |kind: Kind| {
            view.table(kind)
                .iter()
                .map(move |r| (kind, r.name.clone(), r.version))
                .collect::<Vec<_>>()
        };
        Kind::ALL.into_iter().flat_map(rows).collect()
    }
}

fn id(member: &str) -> MemberId {
    MemberId::new(member).unwrap()
}

pub(super) fn synced(member: &str) -> Change {
    Change::Synced(Scope::Member(id(member)))
}

/// It is listed for the first time, or cannot be.
pub(super) fn health(member: &str, is_stale: bool) -> Change {
    let stale = Health::Stale { reason: "SyncTimeout", message: String::new() };
    Change::Health(Scope::Member(id(member)), if is_stale { stale } else { Health::Syncing })
}

pub(super) fn register(member: &str, is_registered: bool) -> Change {
    match is_registered {
        true => register_in(member, ""),
        false => Change::Unregister(id(member)),
    }
}

/// The member is in this region.
pub(super) fn register_in(member: &str, region: &str) -> Change {
    let locality = Locality { region: region.to_owned(), ..Locality::default() };
    Change::Register(id(member), Registered { locality, ..Registered::default() })
}

/// With what is declared of it.
pub(super) fn declare(member: &str, registered: Registered) -> Change {
    Change::Register(id(member), registered)
}

/// `n<idx>` at 10.9.<member>.<idx>.
pub(super) fn node(member: &str, idx: u8, is_eligible: bool) -> Change {
    let cluster: u8 = member.trim_start_matches('c').parse().unwrap();
    put_in(
        member,
        Object::Node(Arc::new(Node {
            name: ObjectName::cluster_scoped(&format!("n{idx}")),
            v4: Some([10, 9, cluster, idx].into()),
            v6: None,
            is_eligible,
        })),
    )
}

pub(super) fn delete_node(member: &str, idx: u8) -> Change {
    let name = ObjectName::cluster_scoped(&format!("n{idx}"));
    Change::Delete(Scope::Member(id(member)), ObjectKind::Node, name)
}

/// At node port 30080, and behind a load balancer if that is its kind and it has an address.
pub(super) fn typed_service(
    member: &str,
    name: &str,
    (kind, policy): (ServiceKind, TrafficPolicy),
    balancers: &[&str],
) -> Change {
    let service = service_of(name, false);
    let mut ports = service.ports.clone();
    ports.iter_mut().for_each(|port| port.node_port = NonZeroU16::new(30080));
    let balancers = balancers.iter().map(|own| own.parse().unwrap()).collect();
    put_in(member, Object::Service(Arc::new(Service { kind, policy, balancers, ports, ..service })))
}

/// Endpoints of a Service at these addresses, in a slice of their own.
pub(super) fn slice_at(
    member: &str,
    (service, own): (&str, &str),
    port: u16,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Change {
    let endpoint = |address: IpAddr| Endpoint {
        address: Some(address),
        is_ready: true,
        pod: None,
        node: Some("n0".into()),
    };
    let slice = EndpointSlice {
        name: named(own),
        service: service.into(),
        family: AddressFamily::V4,
        ports: BTreeMap::from([("".into(), port)]),
        endpoints: addresses.into_iter().map(endpoint).collect(),
    };
    put_in(member, Object::EndpointSlice(Arc::new(slice)))
}

/// A gateway whose own address is known.
pub(super) fn published(name: &str, members: &str, address: &str) -> Change {
    let change = gateway(name, "mse", members);
    let Change::Upsert(scope, Object::Gateway(gateway)) = change else { unreachable!() };
    let mut gateway = (*gateway).clone();
    gateway.annotations.insert("convoy.dev/publish-address".into(), address.into());
    Change::Upsert(scope, Object::Gateway(Arc::new(gateway)))
}

fn named(name: &str) -> ObjectName {
    ObjectName::new(NAMESPACE, name)
}

fn put(object: Object) -> Change {
    Change::Upsert(Scope::Fleet, object)
}

fn put_in(member: &str, object: Object) -> Change {
    Change::Upsert(Scope::Member(id(member)), object)
}

fn delete(kind: ObjectKind, name: &str) -> Change {
    Change::Delete(Scope::Fleet, kind, named(name))
}

pub(super) fn gateway(name: &str, class: &str, members: &str) -> Change {
    gateway_with(name, class, members, 80)
}

/// `c1,c2`, or `c1,c2@r1` for a gateway that is in this region and prefers it.
pub(super) fn gateway_with(name: &str, class: &str, members: &str, port: u16) -> Change {
    let (members, region) = members.split_once('@').unwrap_or((members, ""));
    let prefer = (!region.is_empty()).then(|| ("convoy.dev/prefer".into(), "region".into()));
    let spec: MseIngressConfigSpec =
        serde_json::from_value(serde_json::json!({"ingress": {"local": {"ingressClass": class}}}))
            .unwrap();
    put(Object::Gateway(Arc::new(Gateway {
        name: ObjectName::cluster_scoped(name),
        uid: "".into(),
        generation: 0,
        annotations: BTreeMap::from([
            ("mse.alibabacloud.com/remote-clusters".into(), members.into()),
            ("convoy.dev/http-port".into(), port.to_string().into()),
            ("convoy.dev/region".into(), region.into()),
        ])
        .into_iter()
        .chain(prefer)
        .collect(),
        spec: GatewaySpec::Mse(spec),
    })))
}

/// An `AlbConfig` with plaintext listeners on the first ports and a TLS listener on the last.
pub(super) fn alb(name: &str, members: &str, ports: &[u16]) -> Change {
    let listener = |(idx, port): (usize, &u16)| {
        let protocol = if idx + 1 == ports.len() { "HTTPS" } else { "HTTP" };
        // By place, so that a port that moves up has another timeout.
        serde_json::json!({"port": port, "protocol": protocol, "requestTimeout": 30 * (idx + 1)})
    };
    let listeners: Vec<_> = ports.iter().enumerate().map(listener).collect();
    let spec = serde_json::from_value(serde_json::json!({"listeners": listeners})).unwrap();
    put(Object::Gateway(Arc::new(Gateway {
        name: ObjectName::cluster_scoped(name),
        uid: "".into(),
        generation: 0,
        annotations: BTreeMap::from([(
            "alb.ingress.kubernetes.io/remote-clusters".into(),
            members.into(),
        )]),
        spec: GatewaySpec::Alb(spec),
    })))
}

/// A class that is bound to an `AlbConfig`.
pub(super) fn alb_class(name: &str, gateway: &str) -> Change {
    put(Object::IngressClass(Arc::new(IngressClass {
        name: ObjectName::cluster_scoped(name),
        controller: "ingress.k8s.alibabacloud/alb".into(),
        parameters: Some(ClassParameters {
            api_group: "alibabacloud.com".into(),
            kind: "AlbConfig".into(),
            name: gateway.into(),
        }),
        is_default: false,
    })))
}

pub(super) fn delete_alb(name: &str) -> Change {
    Change::Delete(Scope::Fleet, ObjectKind::AlbConfig, ObjectName::cluster_scoped(name))
}

pub(super) fn delete_gateway(name: &str) -> Change {
    Change::Delete(Scope::Fleet, ObjectKind::MseIngressConfig, ObjectName::cluster_scoped(name))
}

pub(super) fn class(name: &str, bound_to: Option<&str>) -> Change {
    put(Object::IngressClass(Arc::new(IngressClass {
        name: ObjectName::cluster_scoped(name),
        controller: "mse.alibabacloud.com/ingress".into(),
        parameters: bound_to.map(|gateway| ClassParameters {
            api_group: "mse.alibabacloud.com".into(),
            kind: "MseIngressConfig".into(),
            name: gateway.into(),
        }),
        is_default: false,
    })))
}

pub(super) fn ingress(
    name: &str,
    host: &str,
    service: &str,
    annotations: &[(&str, &str)],
) -> Change {
    ingress_with(name, host, service, annotations, 0, None)
}

pub(super) fn ingress_with(
    name: &str,
    host: &str,
    service: &str,
    annotations: &[(&str, &str)],
    created: i64,
    secret: Option<&str>,
) -> Change {
    let annotations = annotations.iter().map(|(key, value)| {
        let key = match key.strip_prefix("alb:") {
            Some(key) => format!("alb.ingress.kubernetes.io/{key}"),
            None => format!("mse.ingress.kubernetes.io/{key}"),
        };
        (key.into(), (*value).into())
    });
    let backend = IngressBackend::Service {
        name: service.into(),
        port: NonZeroU16::new(80).map(PortRef::Number),
    };
    put(Object::Ingress(Arc::new(Ingress {
        name: named(name),
        uid: "".into(),
        created,
        annotations: annotations.collect(),
        class: Some("mse".into()),
        default_backend: None,
        rules: vec![IngressRule {
            host: (!host.is_empty()).then(|| host.into()),
            paths: vec![IngressPath {
                path: Some("/".into()),
                path_type: PathType::Prefix,
                backend,
            }],
        }],
        tls: secret
            .map(|secret| IngressTls { hosts: vec![host.into()], secret: Some(secret.into()) })
            .into_iter()
            .collect(),
    })))
}

pub(super) fn delete_ingress(name: &str) -> Change {
    delete(ObjectKind::Ingress, name)
}

pub(super) fn secret(name: &str, is_valid: bool) -> Change {
    let pair = KeyPair { chain: b"chain".to_vec(), key: b"key".to_vec() };
    put(Object::Secret(Arc::new(Secret {
        name: named(name),
        pair: is_valid.then(|| Arc::new(pair)),
        problem: (!is_valid).then(|| "not a certificate".into()),
    })))
}

pub(super) fn delete_secret(name: &str) -> Change {
    delete(ObjectKind::Secret, name)
}

pub(super) fn service(member: &str, name: &str, is_grpc: bool) -> Change {
    put_in(member, Object::Service(Arc::new(service_of(name, is_grpc))))
}

fn service_of(name: &str, is_grpc: bool) -> Service {
    Service {
        name: named(name),
        ports: vec![ServicePort {
            name: if is_grpc { "grpc" } else { "" }.into(),
            number: 80,
            app_protocol: None,
            node_port: None,
        }],
        kind: ServiceKind::ClusterIp,
        policy: TrafficPolicy::Cluster,
        balancers: Vec::new(),
        prefers_ipv6: false,
    }
}

pub(super) fn delete_service(member: &str, name: &str) -> Change {
    Change::Delete(Scope::Member(id(member)), ObjectKind::Service, named(name))
}

pub(super) fn slice(member: &str, service: &str, replicas: usize) -> Change {
    put_in(member, Object::EndpointSlice(Arc::new(slice_of(member, service, replicas))))
}

fn slice_of(member: &str, service: &str, replicas: usize) -> EndpointSlice {
    let cluster: u8 = member.trim_start_matches('c').parse().unwrap();
    let number: u8 = service.trim_start_matches("svc-").parse().unwrap();
    let endpoint = |replica: usize| Endpoint {
        address: Some([10, cluster, number, replica as u8 + 1].into()),
        is_ready: true,
        pod: Some(format!("{service}-{replica}").into()),
        node: Some(format!("n{}", replica % 2).into()),
    };
    EndpointSlice {
        name: named(&format!("{service}-1")),
        service: service.into(),
        family: AddressFamily::V4,
        // A slice of a Service whose port is named `grpc` in one step and unnamed in another.
        ports: BTreeMap::from([("".into(), 8080), ("grpc".into(), 8081)]),
        endpoints: (0..replicas).map(endpoint).collect(),
    }
}

pub(super) fn relist_slices(member: &str, services: &[(&str, usize)]) -> Change {
    let slices = services
        .iter()
        .map(|(service, replicas)| {
            Object::EndpointSlice(Arc::new(slice_of(member, service, *replicas)))
        })
        .collect();
    Change::Replace(Scope::Member(id(member)), ObjectKind::EndpointSlice, slices)
}

pub(super) fn pod(member: &str, service: &str, replica: usize, version: &str) -> Change {
    put_in(
        member,
        Object::Pod(Arc::new(Pod {
            name: named(&format!("{service}-{replica}")),
            labels: Arc::new(BTreeMap::from([("version".into(), version.into())])),
        })),
    )
}
