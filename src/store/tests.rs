use std::{collections::BTreeMap, net::IpAddr};

use proptest::prelude::*;

use super::*;
use crate::{
    api::MseIngressConfigSpec,
    diag::{Field, Reason},
    key::{MemberId, ObjectRef},
};

fn id(id: &str) -> MemberId {
    MemberId::new(id).unwrap()
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("web", name)
}

fn service(own: &str, port: u16) -> Object {
    let port = ServicePort { name: "".into(), number: port, app_protocol: None, node_port: None };
    let service = Service {
        name: name(own),
        ports: vec![port],
        kind: ServiceKind::ClusterIp,
        policy: TrafficPolicy::Cluster,
        balancers: Vec::new(),
        prefers_ipv6: false,
    };
    Object::Service(service.into())
}

fn slice(own: &str, service: &str, pods: &[&str]) -> Object {
    let endpoint = |pod: &&str| Endpoint {
        address: Some([10, 0, 0, 1].into()),
        is_ready: true,
        pod: Some((*pod).into()),
        node: None,
    };
    let slice = EndpointSlice {
        name: name(own),
        service: service.into(),
        family: AddressFamily::V4,
        ports: BTreeMap::new(),
        endpoints: pods.iter().map(endpoint).collect(),
    };
    Object::EndpointSlice(slice.into())
}

fn pod(own: &str, version: &str) -> Object {
    let labels = Labels::from([("version".into(), version.into())]);
    Object::Pod(Pod { name: name(own), labels: labels.into() }.into())
}

fn secret(pair: Option<&str>, problem: Option<&str>) -> Object {
    let pair = pair.map(|own| Arc::new(KeyPair { chain: own.into(), key: own.into() }));
    let problem = problem.map(str::to_owned);
    Object::Secret(Secret { name: name("cert"), pair, problem }.into())
}

fn ingress(own: &str, created: i64) -> Object {
    let ingress = Ingress {
        name: name(own),
        uid: "".into(),
        created,
        annotations: Labels::new(),
        class: None,
        default_backend: None,
        rules: Vec::new(),
        tls: Vec::new(),
    };
    Object::Ingress(ingress.into())
}

fn gateway(own: &str, instance: &str) -> Object {
    let spec =
        MseIngressConfigSpec { name: Some(instance.to_owned()), ..MseIngressConfigSpec::default() };
    let name = ObjectName::cluster_scoped(own);
    Object::Gateway(
        Gateway {
            name,
            uid: "".into(),
            generation: 0,
            annotations: Labels::new(),
            spec: GatewaySpec::Mse(spec),
        }
        .into(),
    )
}

fn class(own: &str, controller: &str) -> Object {
    let class = IngressClass {
        name: ObjectName::cluster_scoped(own),
        controller: controller.into(),
        parameters: None,
        is_default: false,
    };
    Object::IngressClass(class.into())
}

fn of(member: &str) -> Scope {
    Scope::Member(id(member))
}

/// Applies the changes and says what the last one touched.
#[track_caller]
fn touched(store: &mut Store, changes: impl IntoIterator<Item = Change>) -> Vec<Touched> {
    let last = changes.into_iter().map(|change| store.apply(change)).last();
    last.expect("a change").into_iter().collect()
}

#[test]
fn only_what_differs_is_touched() {
    let mut store = Store::default();
    let upsert = |created| Change::Upsert(Scope::Fleet, ingress("a", created));
    assert_eq!(touched(&mut store, [upsert(1)]), [Touched::Ingress(name("a"))]);
    assert_eq!(touched(&mut store, [upsert(1)]), []);
    assert_eq!(touched(&mut store, [upsert(2)]), [Touched::Ingress(name("a"))]);
    let delete = || Change::Delete(Scope::Fleet, ObjectKind::Ingress, name("a"));
    assert_eq!(touched(&mut store, [delete()]), [Touched::Ingress(name("a"))]);
    assert_eq!(touched(&mut store, [delete()]), []);
    assert_eq!(store, Store::default());
}

#[test]
fn replace_diffs_a_relist() {
    let mut store = Store::default();
    let replace = |objects| Change::Replace(Scope::Fleet, ObjectKind::Ingress, objects);
    store.apply(replace(vec![ingress("a", 1), ingress("b", 1), ingress("c", 1)]));
    let relist = replace(vec![ingress("b", 1), ingress("c", 2), ingress("d", 1)]);
    assert_eq!(
        touched(&mut store, [relist.clone()]),
        ["a", "c", "d"].map(|own| Touched::Ingress(name(own)))
    );
    assert_eq!(touched(&mut store, [relist]), []);
    let names: Vec<_> = store.ingresses().map(|ingress| &*ingress.name.name).collect();
    assert_eq!(names, ["b", "c", "d"]);
}

#[test]
fn a_slice_and_a_pod_touch_their_service() {
    let mut store = Store::default();
    let upsert = |object| Change::Upsert(of("c1"), object);
    let svc = |own: &str| Touched::Service(id("c1"), name(own));
    let member = Touched::Member(id("c1"));
    assert_eq!(
        touched(&mut store, [upsert(pod("q", "base"))]),
        std::slice::from_ref(&member),
        "now it is known"
    );
    assert_eq!(touched(&mut store, [upsert(pod("p", "base"))]), [], "nobody refers to it yet");
    assert_eq!(touched(&mut store, [upsert(slice("s1", "a", &["p", "q"]))]), [svc("a")]);
    assert_eq!(touched(&mut store, [upsert(slice("s2", "b", &["p"]))]), [svc("b")]);
    assert_eq!(touched(&mut store, [upsert(pod("p", "gray"))]), [svc("a"), svc("b")]);
    assert_eq!(touched(&mut store, [upsert(slice("s1", "c", &["q"]))]), [svc("a"), svc("c")]);
    assert_eq!(touched(&mut store, [upsert(pod("p", "base"))]), [svc("b")]);
    let delete = |kind, own| Change::Delete(of("c1"), kind, name(own));
    assert_eq!(touched(&mut store, [delete(ObjectKind::EndpointSlice, "s2")]), [svc("b")]);
    assert_eq!(touched(&mut store, [delete(ObjectKind::Pod, "p")]), []);
    assert_eq!(touched(&mut store, [delete(ObjectKind::EndpointSlice, "s1")]), [svc("c")]);
    assert_eq!(touched(&mut store, [delete(ObjectKind::Pod, "q")]), [member], "nothing is known");
    assert_eq!(store, Store::default());
}

#[test]
fn slices_of_a_service_by_name() {
    let mut store = Store::default();
    for object in [slice("s2", "a", &["p"]), slice("s1", "a", &[]), slice("s3", "b", &[])] {
        store.apply(Change::Upsert(of("c1"), object));
    }
    let member = store.member(&id("c1")).unwrap();
    let names =
        |own| member.slices(&name(own)).map(|s| s.name.name.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names("a"), names("b"), names("c")),
        (vec!["s1".to_owned(), "s2".to_owned()], vec!["s3".to_owned()], vec![])
    );
    assert_eq!(member.pod_labels(&name("p")), None);
}

#[test]
fn members_create_no_hosts_and_the_fleet_serves_nobody() {
    let mut store = Store::default();
    for (scope, object) in [
        (of("c1"), ingress("a", 1)),
        (of("c1"), secret(Some("x"), None)),
        (Scope::Fleet, service("a", 80)),
        (Scope::Fleet, slice("s", "a", &[])),
    ] {
        let (kind, name) = (object.kind(), object.name().clone());
        assert!(store.apply(Change::Upsert(scope.clone(), object)).is_empty());
        assert!(store.apply(Change::Delete(scope, kind, name)).is_empty());
    }
    assert_eq!(store, Store::default());
}

/// What the store holds of a Secret: the pair and what is wrong.
fn held(store: &Store) -> Option<(Option<String>, Option<String>)> {
    let secret = store.secret(&name("cert"))?;
    let pair = |pair: &Arc<KeyPair>| String::from_utf8(pair.chain.clone()).unwrap();
    Some((secret.pair.as_ref().map(pair), secret.problem.clone()))
}

#[test]
fn fault_f8_to_f11_the_last_good_certificate_stays() {
    // Pair and problem before, then what comes, then what is held.
    type State = (Option<&'static str>, Option<&'static str>);
    let table: [(State, State, State); 9] = [
        ((Some("old"), None), (Some("new"), None), (Some("new"), None)),
        ((Some("old"), None), (None, Some("bad")), (Some("old"), Some("bad"))),
        ((Some("old"), None), (Some("new"), Some("expired")), (Some("old"), Some("expired"))),
        ((Some("old"), None), (Some("old"), Some("expired")), (Some("old"), Some("expired"))),
        ((None, Some("bad")), (Some("new"), Some("expired")), (Some("new"), Some("expired"))),
        ((None, Some("bad")), (Some("new"), None), (Some("new"), None)),
        ((None, Some("bad")), (None, Some("worse")), (None, Some("worse"))),
        ((Some("old"), Some("expired")), (Some("new"), None), (Some("new"), None)),
        ((Some("old"), Some("expired")), (None, Some("bad")), (Some("old"), Some("bad"))),
    ];
    for (before, comes, after) in table {
        let mut store = Store::default();
        let upsert = |(pair, problem)| Change::Upsert(Scope::Fleet, secret(pair, problem));
        store.apply(upsert(before));
        let is_news = !touched(&mut store, [upsert(comes)]).is_empty();
        let owned = |state: State| (state.0.map(str::to_owned), state.1.map(str::to_owned));
        assert_eq!(held(&store), Some(owned(after)), "{before:?} then {comes:?}");
        assert_eq!(is_news, before != after);
    }
}

#[test]
fn fault_f8_a_deleted_certificate_is_served_until_it_is_forgotten() {
    let mut store = Store::default();
    let upsert = |pair| Change::Upsert(Scope::Fleet, secret(Some(pair), None));
    let delete = || Change::Delete(Scope::Fleet, ObjectKind::Secret, name("cert"));
    let news = [Touched::Secret(name("cert"))];
    assert_eq!(touched(&mut store, [upsert("x"), delete()]), news);
    let (pair, problem) = held(&store).unwrap();
    assert_eq!(pair.as_deref(), Some("x"));
    assert!(problem.unwrap().contains("deleted"));
    assert_eq!(store.deleted_secrets().collect::<Vec<_>>(), [&name("cert")]);
    assert_eq!(touched(&mut store, [delete()]), []);
    assert_eq!(touched(&mut store, [upsert("x")]), news, "it is back");
    assert_eq!(held(&store), Some((Some("x".to_owned()), None)));
    store.forget_secret(&name("cert"));
    assert!(held(&store).is_some(), "what exists is not forgotten");
    let relist = Change::Replace(Scope::Fleet, ObjectKind::Secret, Vec::new());
    assert_eq!(touched(&mut store, [relist]), news);
    store.forget_secret(&name("cert"));
    assert_eq!(store, Store::default());
}

#[test]
fn a_deleted_certificate_without_a_pair_is_gone() {
    let mut store = Store::default();
    store.apply(Change::Upsert(Scope::Fleet, secret(None, Some("bad"))));
    let delete = Change::Delete(Scope::Fleet, ObjectKind::Secret, name("cert"));
    assert_eq!(touched(&mut store, [delete]), [Touched::Secret(name("cert"))]);
    assert_eq!(store, Store::default());
}

#[test]
fn where_endpoints_may_be_concerns_every_service_and_outlives_the_registration() {
    let mut store = Store::default();
    let ranges = |text: &str| Some(Arc::from([Cidr::parse(text).unwrap()]));
    let register = |text: &str| {
        let registered = Registered { allowed_endpoints: ranges(text), ..Registered::default() };
        Change::Register(id("c1"), registered)
    };
    store.apply(register("10.0.0.0/8"));
    store.apply(Change::Upsert(of("c1"), service("a", 80)));
    assert_eq!(touched(&mut store, [register("10.0.0.0/8")]), []);
    let news = [Touched::Service(id("c1"), name("a"))];
    assert_eq!(touched(&mut store, [register("10.1.0.0/16")]), news);
    store.apply(Change::Unregister(id("c1")));
    let member = store.member(&id("c1")).unwrap();
    assert_eq!(member.declared().allowed_endpoints, ranges("10.1.0.0/16"));
}

#[test]
fn a_node_concerns_the_services_that_it_leads_to() {
    let mut store = Store::default();
    let register =
        |network| Change::Register(id("c1"), Registered { network, ..Registered::default() });
    let node = |own: &str, is_eligible| {
        let name = ObjectName::cluster_scoped(own);
        let v4 = Some([10, 9, 0, 1].into());
        let node = Node { name, v4, v6: None, is_eligible };
        Change::Upsert(of("c1"), Object::Node(node.into()))
    };
    let typed = |own: &str, kind, policy, balancers: &[[u8; 4]]| {
        let Object::Service(service) = service(own, 80) else { unreachable!() };
        let balancers = balancers.iter().map(|own| IpAddr::from(*own)).collect();
        let service = Service { kind, policy, balancers, ..(*service).clone() };
        Change::Upsert(of("c1"), Object::Service(service.into()))
    };
    let (cluster, local) = (TrafficPolicy::Cluster, TrafficPolicy::Local);
    store.apply(register(Network::Overlay));
    store.apply(typed("inner", ServiceKind::ClusterIp, cluster, &[]));
    store.apply(typed("port", ServiceKind::NodePort, cluster, &[]));
    store.apply(typed("local", ServiceKind::NodePort, local, &[]));
    store.apply(typed("pending", ServiceKind::LoadBalancer, cluster, &[]));
    store.apply(typed("lb", ServiceKind::LoadBalancer, cluster, &[[192, 0, 2, 1]]));
    let Object::EndpointSlice(own) = slice("s", "local", &["p"]) else { unreachable!() };
    let mut own = (*own).clone();
    own.endpoints[0].node = Some("n1".into());
    store.apply(Change::Upsert(of("c1"), Object::EndpointSlice(own.into())));

    let names = |own: &[&str]| -> Vec<_> {
        own.iter().map(|own| Touched::Service(id("c1"), name(own))).collect()
    };
    let everywhere = names(&["local", "pending", "port"]);
    assert_eq!(touched(&mut store, [node("n1", true)]), everywhere);
    assert_eq!(touched(&mut store, [node("n1", true)]), [], "a kubelet says so every few seconds");
    assert_eq!(touched(&mut store, [node("n2", true)]), names(&["pending", "port"]));
    assert_eq!(touched(&mut store, [node("n1", false)]), everywhere);
    let relist = Change::Replace(of("c1"), ObjectKind::Node, Vec::new());
    assert_eq!(touched(&mut store, [relist]), everywhere);

    let all = names(&["inner", "lb", "local", "pending", "port"]);
    assert_eq!(touched(&mut store, [register(Network::Underlay)]), all);
    assert_eq!(touched(&mut store, [node("n1", true)]), [], "nobody goes through it");
    assert_eq!(touched(&mut store, [register(Network::Overlay)]), all);
}

#[test]
fn what_a_member_had_outlives_its_registration() {
    let mut store = Store::default();
    let register = || Change::Register(id("c1"), Registered::default());
    let news = [Touched::Member(id("c1"))];
    assert_eq!(touched(&mut store, [register()]), news);
    assert_eq!(touched(&mut store, [register()]), []);
    assert_eq!(touched(&mut store, [Change::Synced(of("c1"))]), news);
    assert_eq!(touched(&mut store, [Change::Synced(of("c1"))]), []);
    store.apply(Change::Upsert(of("c1"), service("a", 80)));
    assert_eq!(touched(&mut store, [Change::Unregister(id("c1"))]), news);
    let member = store.member(&id("c1")).unwrap();
    assert!(!member.is_registered() && member.is_synced());
    assert!(member.service(&name("a")).is_some());
}

#[test]
fn the_fleet_is_synced_once() {
    let mut store = Store::default();
    assert!(!store.is_fleet_synced());
    assert_eq!(touched(&mut store, [Change::Synced(Scope::Fleet)]), [Touched::Fleet]);
    assert_eq!(touched(&mut store, [Change::Synced(Scope::Fleet)]), []);
    assert!(store.is_fleet_synced());
}

#[test]
fn reports_replace_and_withdraw() {
    let mut store = Store::default();
    let at = Field::of(&ObjectRef::fleet(ObjectKind::File, ObjectName::cluster_scoped("a.yaml")));
    let diag = Diag::error(&at, Reason::Unreadable, "cut off");
    let report = |diags| Change::Report { source: "a.yaml".to_owned(), diags };
    assert_eq!(touched(&mut store, [report(vec![])]), []);
    assert_eq!(touched(&mut store, [report(vec![diag.clone()])]), [Touched::Reports]);
    assert_eq!(touched(&mut store, [report(vec![diag.clone()])]), []);
    assert_eq!(store.reports().collect::<Vec<_>>(), [("a.yaml", &[diag][..])]);
    assert_eq!(touched(&mut store, [report(vec![])]), [Touched::Reports]);
}

fn any_object(scope: Scope) -> BoxedStrategy<Object> {
    let names = || prop::sample::select(vec!["a", "b", "c"]);
    match scope {
        Scope::Fleet => prop_oneof![
            (names(), names()).prop_map(|(own, value)| gateway(own, value)),
            (names(), names()).prop_map(|(own, value)| class(own, value)),
            (names(), 0..3i64).prop_map(|(own, created)| ingress(own, created)),
            names().prop_map(|pair| secret(Some(pair), None)),
        ]
        .boxed(),
        Scope::Member(_) => prop_oneof![
            (names(), 1..3u16).prop_map(|(own, port)| service(own, port)),
            (names(), names(), prop::collection::vec(names(), 0..3))
                .prop_map(|(own, service, pods)| slice(own, service, &pods)),
            (names(), names()).prop_map(|(own, version)| pod(own, version)),
        ]
        .boxed(),
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    let scopes = prop::sample::select(vec![Scope::Fleet, of("c1"), of("c2")]);
    scopes.prop_flat_map(|scope| {
        let objects = || any_object(scope.clone());
        let (of_upsert, of_delete, of_replace, of_sync) =
            (scope.clone(), scope.clone(), scope.clone(), scope.clone());
        let register = match &scope {
            Scope::Fleet => Change::Synced(Scope::Fleet),
            Scope::Member(id) => Change::Register(id.clone(), Registered::default()),
        };
        prop_oneof![
            6 => objects().prop_map(move |o| Change::Upsert(of_upsert.clone(), o)),
            3 => objects()
                .prop_map(move |o| Change::Delete(of_delete.clone(), o.kind(), o.name().clone())),
            1 => prop::collection::vec(objects(), 1..4).prop_map(move |objects| {
                let kind = objects[0].kind();
                let objects = objects.into_iter().filter(|o| o.kind() == kind);
                let listed: BTreeMap<_, _> = objects.map(|o| (o.name().clone(), o)).collect();
                Change::Replace(of_replace.clone(), kind, listed.into_values().collect())
            }),
            1 => Just(Change::Synced(of_sync)),
            1 => Just(register),
        ]
    })
}

/// The objects that a sequence of changes leaves, by the plainest means.
#[derive(Default)]
struct Reference {
    objects: BTreeMap<ObjectRef, Object>,
    rest: Vec<Change>,
}

impl Reference {
    fn apply(&mut self, change: Change) {
        let key = |scope: &Scope, kind, name: &ObjectName| ObjectRef {
            scope: scope.clone(),
            kind,
            name: name.clone(),
        };
        match change {
            Change::Upsert(scope, object) => {
                self.objects.insert(key(&scope, object.kind(), object.name()), object);
            }
            Change::Delete(scope, kind, name) => {
                self.objects.remove(&key(&scope, kind, &name));
            }
            Change::Replace(scope, kind, objects) => {
                self.objects.retain(|own, _| own.scope != scope || own.kind != kind);
                for object in objects {
                    self.objects.insert(key(&scope, kind, object.name()), object);
                }
            }
            change @ (Change::Listed(_)
            | Change::Synced(_)
            | Change::Register(..)
            | Change::Health(..)
            | Change::Unregister(_)
            | Change::Report { .. }) => self.rest.push(change),
        }
    }

    fn build(self) -> Store {
        let mut store = Store::default();
        for (key, object) in self.objects {
            store.apply(Change::Upsert(key.scope, object));
        }
        for change in self.rest {
            store.apply(change);
        }
        store
    }
}

fn is_of_pods(change: &Change) -> bool {
    match change {
        Change::Upsert(_, object) => object.kind() == ObjectKind::Pod,
        Change::Delete(_, kind, _) | Change::Replace(_, kind, _) => *kind == ObjectKind::Pod,
        Change::Listed(_)
        | Change::Synced(_)
        | Change::Register(..)
        | Change::Health(..)
        | Change::Unregister(_)
        | Change::Report { .. } => false,
    }
}

proptest! {
    /// Incremental equals rebuild, and what differs is touched. Certificates are the one memory the store has, so it must forget the deleted ones first.
    #[test]
    fn any_sequence_equals_its_final_objects(changes in prop::collection::vec(any_change(), 0..60)) {
        let mut store = Store::default();
        let mut reference = Reference::default();
        for change in changes {
            let before = store.clone();
            let is_touched = !store.apply(change.clone()).is_empty();
            let differs = before != store;
            // A Pod that no slice names is stored, and matters to nobody.
            prop_assert!(!is_touched || differs, "{:?}", change);
            prop_assert!(!differs || is_touched || is_of_pods(&change), "{:?}", change);
            reference.apply(change);
        }
        let deleted: Vec<_> = store.deleted_secrets().cloned().collect();
        deleted.iter().for_each(|name| store.forget_secret(name));
        prop_assert_eq!(store, reference.build());
    }
}
