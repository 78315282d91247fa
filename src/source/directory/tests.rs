use std::{fs, os::unix::fs::symlink, path::PathBuf, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::mpsc::{Receiver, channel};

use super::{file::parse, *};
use crate::{
    diag::Field,
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, Scope},
    store::{Network, Object, Store},
};

/// A directory and what a store makes of it.
struct Bed {
    dir: TempDir,
    tree: Tree,
    store: Store,
}

impl Bed {
    fn new(files: &[(&str, &str)]) -> Bed {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("fleet")).unwrap();
        let tree = Tree::new(dir.path());
        let mut bed = Bed { dir, tree, store: Store::default() };
        files.iter().for_each(|(path, text)| bed.write(path, text));
        bed.look();
        bed
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// One update, as a watch would do after a burst; the changes in few words.
    fn look(&mut self) -> Vec<String> {
        let freshness = Freshness {
            written: scan::scan(self.dir.path())
                .unwrap()
                .files
                .into_keys()
                .map(|path| self.dir.path().join(path))
                .collect(),
            ..Freshness::default()
        };
        self.look_with(&freshness)
    }

    fn look_with(&mut self, freshness: &Freshness) -> Vec<String> {
        self.look_at(freshness, 0)
    }

    fn look_at(&mut self, freshness: &Freshness, now: i64) -> Vec<String> {
        let scan = scan::scan(self.dir.path()).unwrap();
        let batch = self.tree.update(&scan, freshness, now);
        let said = batch.iter().map(said).collect();
        for change in batch {
            self.store.apply(change);
        }
        said
    }

    fn ingresses(&self) -> Vec<String> {
        self.store.ingresses().map(|ingress| ingress.name.to_string()).collect()
    }

    fn reports(&self) -> Vec<String> {
        let diags = self
            .store
            .reports()
            .flat_map(|(source, diags)| diags.iter().map(move |diag| format!("{source}: {diag}")));
        diags.collect()
    }

    /// What a fresh store would make of the directory now.
    fn loaded(&self) -> Store {
        let mut store = Store::default();
        for change in load(self.dir.path()).unwrap() {
            store.apply(change);
        }
        store
    }
}

fn said(change: &Change) -> String {
    match change {
        Change::Upsert(scope, object) => format!("{scope}: + {}", object.name()),
        Change::Delete(scope, kind, name) => format!("{scope}: - {kind} {name}"),
        Change::Replace(scope, kind, objects) => {
            let names: Vec<_> = objects.iter().map(|object| object.name().to_string()).collect();
            format!("{scope}: {kind} = [{}]", names.join(" "))
        }
        Change::Listed(scope) => format!("{scope}: listed"),
        Change::Synced(scope) => format!("{scope}: synced"),
        Change::Register(id, _) => format!("register {id}"),
        Change::Health(scope, health) => format!("health {scope}: {health:?}"),
        Change::Unregister(id) => format!("unregister {id}"),
        Change::Report { source, diags } => format!("{source}: {} findings", diags.len()),
    }
}

fn ingress(name: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\n")
}

fn class_of(name: &str, class: &str) -> String {
    format!("{}spec: {{ingressClassName: {class}}}\n", ingress(name))
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n"
    )
}

#[test]
fn a_load_lists_every_cluster_once() {
    let bed = Bed::new(&[
        ("fleet/a.yaml", &format!("{}---\n# nothing\n---\n{}", ingress("a"), ingress("b"))),
        ("fleet/deep/er/c.yml", &ingress("c")),
        (
            "fleet/d.json",
            r#"{"kind":"IngressClass","apiVersion":"networking.k8s.io/v1","metadata":{"name":"mse"}}"#,
        ),
        ("fleet/.hidden.yaml", &ingress("hidden")),
        ("fleet/README.md", "not a manifest"),
        ("members/c1/svc.yaml", &service("svc")),
        ("members/c2/.keep", ""),
    ]);
    let changes: Vec<_> = load(bed.dir.path()).unwrap().iter().map(said).collect();
    assert_eq!(
        changes,
        [
            "register c1",
            "register c2",
            "fleet: MseIngressConfig = []",
            "fleet: AlbConfig = []",
            "fleet: IngressClass = [mse]",
            "fleet: Ingress = [default/a default/b default/c]",
            "fleet: Secret = []",
            "fleet: synced",
            "member c1: Service = [default/svc]",
            "member c1: EndpointSlice = []",
            "member c1: Pod = []",
            "member c1: Node = []",
            "member c1: synced",
            "member c2: Service = []",
            "member c2: EndpointSlice = []",
            "member c2: Pod = []",
            "member c2: Node = []",
            "member c2: synced",
        ]
    );
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let dir = TempDir::new().unwrap();
    assert!(load(&dir.path().join("nowhere")).is_err());
    let changes = load(dir.path()).unwrap();
    let report = changes.iter().map(said).next_back();
    assert_eq!(report.as_deref(), Some("fleet: 1 findings"), "no fleet, but a directory");
}

#[test]
fn a_change_says_what_changed() {
    let mut bed = Bed::new(&[("fleet/a.yaml", &format!("{}---\n{}", ingress("a"), ingress("b")))]);
    assert_eq!(bed.look(), [""; 0], "read again, and all the same");
    bed.write("fleet/a.yaml", &format!("{}---\n{}", ingress("b"), ingress("c")));
    assert_eq!(bed.look(), ["fleet: - Ingress default/a", "fleet: + default/c"]);
    bed.write("fleet/new.yaml", &ingress("d"));
    assert_eq!(bed.look(), ["fleet: + default/d"]);
    fs::remove_file(bed.path("fleet/a.yaml")).unwrap();
    assert_eq!(bed.look(), ["fleet: - Ingress default/b", "fleet: - Ingress default/c"]);
    assert_eq!(bed.store, bed.loaded());
}

#[test]
fn an_object_that_moves_is_never_gone() {
    let mut bed = Bed::new(&[("fleet/a.yaml", &ingress("a"))]);
    bed.write("fleet/a.yaml", "");
    bed.write("fleet/b.yaml", &ingress("a"));
    assert_eq!(bed.look(), [""; 0]);
    fs::rename(bed.path("fleet/b.yaml"), bed.path("fleet/c.yaml")).unwrap();
    assert_eq!(bed.look(), [""; 0]);
    bed.write("fleet/c.yaml", "");
    bed.write("fleet/d.yaml", &class_of("a", "mse"));
    assert_eq!(bed.look(), ["fleet: + default/a"]);
}

#[test]
fn two_files_with_one_object_the_first_path_wins() {
    let mut bed =
        Bed::new(&[("fleet/b.yaml", &class_of("x", "b")), ("fleet/c.yaml", &class_of("x", "c"))]);
    let class = |bed: &Bed| bed.store.ingresses().next().unwrap().class.clone().unwrap();
    let report = |loser: &str, winner: &str| {
        format!(
            "fleet/{loser}.yaml: error: Ingress default/x: DuplicateObject: fleet/{winner}.yaml \
             also holds it and comes first; the one in fleet/{loser}.yaml is not used"
        )
    };
    assert_eq!((&*class(&bed), bed.reports()), ("b", vec![report("c", "b")]));
    bed.write("fleet/a.yaml", &class_of("x", "a"));
    bed.look();
    assert_eq!((&*class(&bed), bed.reports()), ("a", vec![report("b", "a"), report("c", "a")]));
    fs::remove_file(bed.path("fleet/a.yaml")).unwrap();
    fs::remove_file(bed.path("fleet/b.yaml")).unwrap();
    assert_eq!(
        bed.look(),
        ["fleet: + default/x", "fleet/b.yaml: 0 findings", "fleet/c.yaml: 0 findings"]
    );
    assert_eq!((&*class(&bed), bed.reports()), ("c", vec![]));
}

#[test]
fn the_same_object_twice_in_a_file() {
    let twice = format!("{}---\n{}", class_of("x", "a"), class_of("x", "b"));
    let bed = Bed::new(&[("fleet/a.yaml", &twice)]);
    assert_eq!(bed.store.ingresses().next().unwrap().class.as_deref(), Some("a"));
    assert_eq!(
        bed.reports(),
        ["fleet/a.yaml: error: file fleet/a.yaml: line 6: DuplicateObject: Ingress default/x is \
          in the file twice; the first one is used"]
    );
}

#[test]
fn what_cannot_be_read_stays_as_it_was() {
    let mut bed = Bed::new(&[
        ("fleet/a.yaml", &format!("{}---\n{}", class_of("a", "old"), ingress("b"))),
        ("fleet/ok.yaml", &ingress("ok")),
    ]);
    bed.write("fleet/a.yaml", &format!("{}---\nkind: [", class_of("a", "new")));
    bed.write("fleet/ok.yaml", &ingress("fine"));
    bed.look();
    assert_eq!(bed.ingresses(), ["default/a", "default/b", "default/fine"]);
    assert_eq!(bed.store.ingresses().next().unwrap().class.as_deref(), Some("new"));
    let reports = bed.reports();
    assert!(
        reports[0].starts_with("fleet/a.yaml: error: file fleet/a.yaml: line 6: Unreadable: "),
        "{reports:?}"
    );
    bed.write("fleet/a.yaml", &ingress("a"));
    assert_eq!(
        bed.look(),
        ["fleet: + default/a", "fleet: - Ingress default/b", "fleet/a.yaml: 0 findings"]
    );
}

/// As the API server does it: an update that is not legal changes nothing.
#[test]
fn fault_f16_an_illegal_object_stays_as_it_was() {
    let mut bed =
        Bed::new(&[("fleet/a.yaml", &format!("{}---\n{}", class_of("a", "old"), ingress("b")))]);
    bed.write("fleet/a.yaml", &format!("{}---\n{}", class_of("a", "[1]"), ingress("c")));
    assert_eq!(
        bed.look(),
        ["fleet: - Ingress default/b", "fleet: + default/c", "fleet/a.yaml: 1 findings"]
    );
    assert_eq!(bed.store.ingresses().next().unwrap().class.as_deref(), Some("old"));
    assert_eq!(
        bed.reports(),
        ["fleet/a.yaml: error: Ingress default/a: spec.ingressClassName: InvalidField: invalid \
          type: sequence, expected a string"]
    );
}

#[test]
fn findings_name_file_and_line() {
    let bed = Bed::new(&[
        (
            "fleet/a.yaml",
            "kind: Deployment\napiVersion: apps/v1\n---\nkind: Oops\napiVersion: v1\n",
        ),
        ("fleet/b.yaml", "\n\nkind: Ingress\napiVersion: networking.k8s.io/v1\n"),
        ("fleet/c.yaml", &format!("{0}---\n{0}---\n- 1\n", "kind: Oops\napiVersion: v1\n")),
        ("members/not an id/a.yaml", ""),
    ]);
    assert_eq!(
        bed.reports(),
        [
            "fleet/a.yaml: warning: file fleet/a.yaml: line 4: UnsupportedKind: objects of kind \
         `Oops` are not read",
            "fleet/b.yaml: error: file fleet/b.yaml: line 3: InvalidField: `metadata.name` of the \
         Ingress is missing",
            "fleet/c.yaml: warning: file fleet/c.yaml: line 1: UnsupportedKind: objects of kind \
         `Oops` are not read",
            "fleet/c.yaml: error: file fleet/c.yaml: line 7: InvalidField: not a mapping",
            "members/not an id: error: file members/not an id: Unreadable: the name of the directory \
         is not a member's id: letters, digits, `.-_`",
        ]
    );
}

#[test]
fn a_member_that_vanishes_keeps_what_it_had_until_it_is_back() {
    let mut bed = Bed::new(&[("members/c1/a.yaml", &service("a"))]);
    let id = MemberId::new("c1").unwrap();
    fs::rename(bed.path("members/c1"), bed.path("elsewhere")).unwrap();
    assert_eq!(bed.look(), ["unregister c1"]);
    assert_eq!(bed.store.member(&id).unwrap().services().count(), 1);
    bed.write("elsewhere/a.yaml", &service("b"));
    fs::rename(bed.path("elsewhere"), bed.path("members/c1")).unwrap();
    assert_eq!(
        bed.look(),
        [
            "register c1",
            "member c1: Service = [default/b]",
            "member c1: EndpointSlice = []",
            "member c1: Pod = []",
            "member c1: Node = []",
            "member c1: synced",
        ]
    );
    assert_eq!(bed.store, bed.loaded());
}

#[test]
fn a_member_cluster_says_what_a_directory_cannot() {
    let mut bed = Bed::new(&[("members/c1/a.yaml", &service("a"))]);
    let id = MemberId::new("c1").unwrap();
    let cluster = |name: &str, member: &str, network: &str| {
        format!(
            "apiVersion: convoy.dev/v1alpha1\nkind: MemberCluster\nmetadata: {{name: {name}}}\n\
             spec: {{id: {member}, network: {network}}}\n"
        )
    };
    let network = |bed: &Bed| bed.store.member(&id).unwrap().declared().network;
    bed.write("fleet/hk.yaml", &cluster("hk", "c1", "overlay"));
    assert_eq!(bed.look(), ["register c1"]);
    assert_eq!(network(&bed), Network::Overlay);
    // Of a member without a directory nothing is known, so that nobody waits for it.
    bed.write("fleet/other.yaml", &cluster("a", "c9", "overlay"));
    assert_eq!(bed.look(), [""; 0]);
    // What cannot be read stays.
    bed.write("fleet/hk.yaml", &cluster("hk", "c1", "[]"));
    bed.look();
    assert_eq!(network(&bed), Network::Overlay);
    fs::remove_file(bed.path("fleet/hk.yaml")).unwrap();
    assert_eq!(bed.look().first().map(String::as_str), Some("register c1"));
    assert_eq!(network(&bed), Network::Underlay);
    assert_eq!(bed.store, bed.loaded());
}

#[test]
fn a_fleet_that_vanishes_is_unknown_and_not_empty() {
    let mut bed = Bed::new(&[("fleet/a.yaml", &ingress("a"))]);
    fs::rename(bed.path("fleet"), bed.path("elsewhere")).unwrap();
    assert_eq!(bed.look(), ["fleet: 1 findings"]);
    assert_eq!(bed.ingresses(), ["default/a"]);
    fs::rename(bed.path("elsewhere"), bed.path("fleet")).unwrap();
    assert_eq!(bed.look(), ["fleet: 0 findings"]);
}

#[test]
fn links_are_followed_and_may_be_swapped() {
    let bed = &mut Bed::new(&[
        ("fleet/..v1/a.yaml", &ingress("a")),
        ("fleet/..v2/a.yaml", &ingress("b")),
    ]);
    symlink("..v1", bed.path("fleet/..data")).unwrap();
    symlink("..data/a.yaml", bed.path("fleet/a.yaml")).unwrap();
    assert_eq!(bed.look_with(&Freshness::default()), ["fleet: + default/a"]);
    symlink("..v2", bed.path("fleet/..tmp")).unwrap();
    fs::rename(bed.path("fleet/..tmp"), bed.path("fleet/..data")).unwrap();
    assert_eq!(
        bed.look_with(&Freshness::default()),
        ["fleet: - Ingress default/a", "fleet: + default/b"]
    );
    fs::remove_dir_all(bed.path("fleet/..v2")).unwrap();
    assert_eq!(bed.look(), ["fleet/a.yaml: 1 findings"], "a link that leads nowhere");
    assert_eq!(bed.ingresses(), ["default/b"]);
}

#[test]
fn links_in_a_circle_end() {
    let mut bed = Bed::new(&[("fleet/sub/a.yaml", &ingress("a"))]);
    symlink(".", bed.path("fleet/sub/loop")).unwrap();
    bed.look();
    assert_eq!(bed.ingresses(), ["default/a"]);
}

#[test]
fn a_file_that_is_too_long() {
    let bed = Bed::new(&[("fleet/a.yaml", &"#".repeat((16 << 20) + 1))]);
    assert_eq!(
        bed.reports(),
        ["fleet/a.yaml: error: file fleet/a.yaml: Unreadable: more than 16777216 bytes"]
    );
}

#[test]
fn a_file_that_is_being_written_is_left_alone() {
    let mut bed = Bed::new(&[("fleet/a.yaml", &ingress("a"))]);
    bed.write("fleet/a.yaml", "");
    let open = Freshness { open: [bed.path("fleet/a.yaml")].into(), ..Freshness::default() };
    assert_eq!(bed.look_with(&open), [""; 0]);
    assert_eq!(bed.look_with(&Freshness::default()), ["fleet: - Ingress default/a"]);
}

#[test]
fn nothing_of_a_secret_is_in_a_finding() {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {tls.key: canary}\n";
    let bed = Bed::new(&[("fleet/a.yaml", &format!("{secret}  x: [canary\n: {{canary: canary"))]);
    let reports = bed.reports().join("\n");
    assert!(reports.contains("Unreadable") && !reports.contains("canary"), "{reports}");
}

/// The clock changes the verdict, and nobody writes the file.
#[test]
fn fault_f10_a_certificate_expires_while_it_is_served() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(1970, 1, 2);
    params.not_after = rcgen::date_time_ymd(1970, 1, 3);
    let certificate = params.self_signed(&key).unwrap();
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "cert" },
        "stringData": { "tls.crt": certificate.pem(), "tls.key": key.serialize_pem() },
    });
    let mut bed = Bed::new(&[("fleet/a.json", &secret.to_string())]);
    const DAY: i64 = 24 * 60 * 60;
    let problem = |bed: &Bed| {
        let secret = bed.store.secret(&ObjectName::new("default", "cert")).unwrap();
        assert!(secret.pair.is_some(), "there is nothing better to serve");
        secret.problem.clone()
    };
    for (now, changes, expect, judge_again) in [
        (DAY - 1, 0, Some("the certificate is not valid yet"), Some(DAY)),
        (DAY, 1, None, Some(2 * DAY + 1)),
        (2 * DAY, 0, None, Some(2 * DAY + 1)),
        (2 * DAY + 1, 1, Some("the certificate has expired"), None),
        (3 * DAY, 0, Some("the certificate has expired"), None),
    ] {
        assert_eq!(bed.look_at(&Freshness::default(), now).len(), changes, "{now}");
        assert_eq!(problem(&bed).as_deref(), expect, "{now}");
        assert_eq!(bed.tree.judge_again(), judge_again, "{now}");
    }
}

fn at(scope: Scope) -> Field {
    let name = ObjectName::cluster_scoped("a.yaml");
    Field::of(&ObjectRef { scope, kind: ObjectKind::File, name })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parse(&bytes, &at(Scope::Fleet), 0);
    }

    /// Nearer to what is legal than random bytes are.
    #[test]
    fn no_damage_panics(cut in 0..600usize, place in 0..600usize, byte: u8) {
        let mut bytes = format!(
            "{}---\n{}---\nkind: List\napiVersion: v1\nitems:\n- {{kind: Secret, apiVersion: v1, \
             metadata: &a {{name: b}}, data: *a}}\n",
            class_of("a", "\"b\""),
            service("c"),
        ).into_bytes();
        bytes.truncate(cut);
        if let Some(damaged) = bytes.get_mut(place) {
            *damaged = byte;
        }
        parse(&bytes, &at(Scope::Fleet), 0);
        parse(&bytes, &at(Scope::Member(MemberId::new("c1").unwrap())), 0);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write { file: usize, objects: Vec<(usize, usize)>, is_broken: bool },
    Remove(usize),
    Rename(usize, usize),
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..4usize, prop::collection::vec((0..4usize, 0..2usize), 0..3), prop::bool::weighted(0.2))
            .prop_map(|(file, objects, is_broken)| Act::Write { file, objects, is_broken }),
        1 => (0..4usize).prop_map(Act::Remove),
        1 => (0..4usize, 0..4usize).prop_map(|(from, to)| Act::Rename(from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Incremental equals rebuild, once every file can be read again.
    #[test]
    fn any_sequence_equals_a_load(acts in prop::collection::vec((any_act(), any::<bool>()), 1..12)) {
        let mut bed = Bed::new(&[]);
        let path = |file: usize| format!("fleet/{file}.yaml");
        for (act, look) in acts {
            match act {
                Act::Write { file, objects, is_broken } => {
                    let objects = objects.iter().map(|(name, class)| {
                        class_of(&format!("i{name}"), &format!("c{class}"))
                    });
                    let mut text = objects.collect::<Vec<_>>().join("---\n");
                    if is_broken {
                        text += "---\n[";
                    }
                    bed.write(&path(file), &text);
                }
                Act::Remove(file) => drop(fs::remove_file(bed.path(&path(file)))),
                Act::Rename(from, to) => {
                    drop(fs::rename(bed.path(&path(from)), bed.path(&path(to))));
                }
            }
            if look {
                bed.look();
            }
        }
        for file in 0..4 {
            if fs::read(bed.path(&path(file))).is_ok_and(|bytes| bytes.ends_with(b"[")) {
                fs::remove_file(bed.path(&path(file))).unwrap();
            }
        }
        bed.look();
        prop_assert_eq!(&bed.store, &bed.loaded());
    }
}

/// A watched directory and the store behind it.
struct Watched {
    bed: Bed,
    store: Store,
    batches: Receiver<Vec<Change>>,
    _watch: Watch,
}

impl Watched {
    fn new(files: &[(&str, &str)]) -> Watched {
        let bed = Bed::new(files);
        let (sender, batches) = channel(16);
        let watch = spawn(bed.dir.path(), sender).unwrap();
        Watched { bed, store: Store::default(), batches, _watch: watch }
    }

    /// Takes in batches until `holds`, or fails.
    #[track_caller]
    fn until(&mut self, holds: impl Fn(&Store) -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        while !holds(&self.store) {
            let next =
                async { tokio::time::timeout(Duration::from_secs(20), self.batches.recv()).await };
            let batch = runtime.block_on(next).expect("in time").expect("the watch goes on");
            for change in batch {
                self.store.apply(change);
            }
        }
    }

    #[track_caller]
    fn until_ingresses(&mut self, names: &[&str]) {
        self.until(|store| {
            store.is_fleet_synced()
                && store.ingresses().map(|ingress| &*ingress.name.name).eq(names.iter().copied())
        });
    }
}

#[test]
fn a_watch_sees_every_way_of_writing() {
    let mut watched = Watched::new(&[("fleet/a.yaml", &ingress("a"))]);
    watched.until_ingresses(&["a"]);
    watched.bed.write("fleet/a.yaml", &ingress("b"));
    watched.until_ingresses(&["b"]);
    watched.bed.write("fleet/.a.yaml.tmp", &ingress("c"));
    fs::rename(watched.bed.path("fleet/.a.yaml.tmp"), watched.bed.path("fleet/a.yaml")).unwrap();
    watched.until_ingresses(&["c"]);
    watched.bed.write("fleet/new/deep/d.yaml", &ingress("d"));
    watched.until_ingresses(&["c", "d"]);
    watched.bed.write("fleet/new/deep/e.yaml", &ingress("e"));
    watched.until_ingresses(&["c", "d", "e"]);
    fs::remove_dir_all(watched.bed.path("fleet/new")).unwrap();
    watched.until_ingresses(&["c"]);
    fs::remove_file(watched.bed.path("fleet/a.yaml")).unwrap();
    watched.until_ingresses(&[]);
}

#[test]
fn a_watch_sees_the_links_of_a_config_map_swapped() {
    let bed = Bed::new(&[("fleet/..v1/a.yaml", &ingress("a"))]);
    symlink("..v1", bed.path("fleet/..data")).unwrap();
    symlink("..data/a.yaml", bed.path("fleet/a.yaml")).unwrap();
    let (sender, batches) = channel(16);
    let watch = spawn(bed.dir.path(), sender).unwrap();
    let mut watched = Watched { bed, store: Store::default(), batches, _watch: watch };
    watched.until_ingresses(&["a"]);
    watched.bed.write("fleet/..v2/a.yaml", &ingress("b"));
    symlink("..v2", watched.bed.path("fleet/..tmp")).unwrap();
    fs::rename(watched.bed.path("fleet/..tmp"), watched.bed.path("fleet/..data")).unwrap();
    watched.until_ingresses(&["b"]);
}

#[test]
fn a_watch_sees_members_come_and_go() {
    let mut watched = Watched::new(&[]);
    let id = MemberId::new("c1").unwrap();
    watched.bed.write("members/c1/a.yaml", &service("a"));
    let a = ObjectName::new("default", "a");
    watched.until(|store| store.member(&id).is_some_and(|member| member.service(&a).is_some()));
    assert!(watched.store.member(&id).unwrap().is_registered());
    fs::remove_dir_all(watched.bed.path("members/c1")).unwrap();
    watched.until(|store| !store.member(&id).is_some_and(|member| member.is_registered()));
}

/// A writer that takes its time must not make its file look empty.
#[test]
fn a_watch_waits_for_a_slow_writer() {
    use std::io::Write as _;
    let mut watched = Watched::new(&[("fleet/a.yaml", &ingress("a"))]);
    watched.until_ingresses(&["a"]);
    let mut slow = fs::File::create(watched.bed.path("fleet/a.yaml")).unwrap();
    for other in ["b", "c"] {
        watched.bed.write(&format!("fleet/{other}.yaml"), &ingress(other));
        watched.until(|store| store.ingresses().any(|ingress| &*ingress.name.name == other));
        assert!(watched.store.ingresses().any(|ingress| &*ingress.name.name == "a"));
    }
    slow.write_all(ingress("d").as_bytes()).unwrap();
    drop(slow);
    watched.until_ingresses(&["b", "c", "d"]);
}

#[test]
fn a_watch_ends_when_it_is_dropped() {
    let watched = Watched::new(&[]);
    let Watched { bed: _bed, mut batches, _watch: watch, .. } = watched;
    drop(watch);
    while batches.blocking_recv().is_some() {}
}

#[test]
fn objects_of_both_kinds_of_cluster_are_told_apart() {
    let both = format!("{}---\n{}", ingress("a"), service("a"));
    let bed = Bed::new(&[("fleet/a.yaml", &both), ("members/c1/a.yaml", &both)]);
    assert_eq!(bed.ingresses(), ["default/a"]);
    let member = bed.store.member(&MemberId::new("c1").unwrap()).unwrap();
    assert_eq!(
        member.services().map(|s| Object::Service(s.clone()).kind()).collect::<Vec<_>>(),
        [ObjectKind::Service]
    );
    assert_eq!(bed.reports().len(), 2);
}
