//! What was read, by file and by object, and what changes when a file does.
//!
//! Owns which file an object is from: the first path in order that holds it. So an object that
//! moves between files in one go is never gone in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    diag::{Diag, Field, Reason},
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, Scope},
    source::directory::{
        file::{Content, earliest, read},
        scan::{Found, Scan, Stamp},
    },
    store::{Change, MemberCluster, Object, Registered},
};

/// Those that the store holds.
const FLEET_KINDS: [ObjectKind; 5] = [
    ObjectKind::MseIngressConfig,
    ObjectKind::AlbConfig,
    ObjectKind::IngressClass,
    ObjectKind::Ingress,
    ObjectKind::Secret,
];

const MEMBER_KINDS: [ObjectKind; 4] =
    [ObjectKind::Service, ObjectKind::EndpointSlice, ObjectKind::Pod, ObjectKind::Node];

/// What a watch knows about files that their stamps may not show.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Certainly written since they were last read.
    pub(super) written: BTreeSet<PathBuf>,
    /// Being written now: not to be read yet.
    pub(super) open: BTreeSet<PathBuf>,
}

/// The state of the directory as last read.
#[derive(Debug)]
pub(super) struct Tree {
    dir: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// Every file that holds the object; the first one counts.
    owners: BTreeMap<ObjectRef, BTreeMap<PathBuf, Object>>,
    /// Clusters whose objects have been listed since they appeared.
    listed: BTreeSet<Scope>,
    /// Members that are registered, and what was said of them.
    registered: BTreeMap<MemberId, Registered>,
    reported: BTreeMap<PathBuf, Vec<Diag>>,
}

#[derive(Debug)]
struct File {
    scope: Scope,
    stamp: Stamp,
    objects: BTreeSet<ObjectRef>,
    findings: Vec<Diag>,
    judge_again: Option<i64>,
}

/// What one update did, until it is known what it comes to.
#[derive(Default)]
struct Update {
    /// Objects whose owners changed, with what they were before.
    before: BTreeMap<ObjectRef, Option<Object>>,
    /// Files about which there may be something else to report.
    files: BTreeSet<PathBuf>,
}

impl Tree {
    pub(super) fn new(dir: &Path) -> Tree {
        Tree {
            dir: dir.to_owned(),
            files: BTreeMap::new(),
            owners: BTreeMap::new(),
            listed: BTreeSet::new(),
            registered: BTreeMap::new(),
            reported: BTreeMap::new(),
        }
    }

    /// When some file must be read again although it does not change, in seconds since 1970.
    pub(super) fn judge_again(&self) -> Option<i64> {
        self.files.values().fold(None, |soonest, file| earliest(soonest, file.judge_again))
    }

    /// Reads what is new in `scan`, and says what that changes, as one batch.
    pub(super) fn update(&mut self, scan: &Scan, freshness: &Freshness, now: i64) -> Vec<Change> {
        let mut update = Update::default();
        let mut changes = self.vanished_members(scan);
        let vanished = changes.len();
        let gone = |path: &&PathBuf| !scan.files.contains_key(*path) && !scan.is_unknown(path);
        let gone: Vec<_> = self.files.keys().filter(gone).cloned().collect();
        for path in gone {
            self.put(&path, None, &mut update);
            update.files.insert(path);
        }
        for (path, found) in &scan.files {
            let full = self.dir.join(path);
            let is_stale = |file: &File| {
                file.stamp != found.stamp
                    || file.judge_again.is_some_and(|time| time <= now)
                    || freshness.written.contains(&full)
            };
            if !freshness.open.contains(&full) && self.files.get(path).is_none_or(is_stale) {
                let content = read(&full, &path.to_string_lossy(), &found.scope, now);
                self.put(path, Some((found, content)), &mut update);
                update.files.insert(path.clone());
            }
        }
        // Last, because what is said of a member is in the files that were read just now; but first
        // for whoever takes it in.
        let registered = self.register(scan);
        changes.splice(vanished..vanished, registered);
        changes.extend(self.appeared(scan));
        changes.extend(self.changed(&update));
        self.listed = scopes(&scan.members);
        self.report(scan, update.files, &mut changes);
        changes
    }

    /// A member whose directory is gone is no longer registered. What it had is not deleted: it
    /// lost its credentials, so to speak, and what its files said may still be true.
    fn vanished_members(&mut self, scan: &Scan) -> Vec<Change> {
        let present = scopes(&scan.members);
        let is_known = |path: &str| !scan.is_unknown(Path::new(path));
        let mut changes = Vec::new();
        for scope in self.listed.difference(&present) {
            let Scope::Member(id) = scope else { continue };
            if is_known("members") {
                self.files.retain(|_, file| file.scope != *scope);
                self.owners.retain(|object, _| object.scope != *scope);
                self.registered.remove(id);
                changes.push(Change::Unregister(id.clone()));
            }
        }
        changes
    }

    /// A directory is a member. What else is to be said of it, a `MemberCluster` of the fleet says;
    /// of several, the first by name.
    fn register(&mut self, scan: &Scan) -> Vec<Change> {
        let declared: Vec<_> = self.all(&Scope::Fleet, ObjectKind::MemberCluster);
        let says = |id: &MemberId| {
            declared.iter().find_map(|object| declares(object).filter(|own| own.member == *id))
        };
        let mut changes = Vec::new();
        for id in &scan.members {
            let registered = says(id).map(|own| own.registered.clone()).unwrap_or_default();
            if self.registered.get(id) != Some(&registered) {
                self.registered.insert(id.clone(), registered.clone());
                changes.push(Change::Register(id.clone(), registered));
            }
        }
        changes
    }

    /// A cluster that is new says everything it has, so that the store forgets what it may
    /// remember of it.
    fn appeared(&self, scan: &Scan) -> Vec<Change> {
        let mut changes = Vec::new();
        for scope in scopes(&scan.members).difference(&self.listed) {
            let kinds = match scope {
                Scope::Fleet => FLEET_KINDS.as_slice(),
                Scope::Member(_) => MEMBER_KINDS.as_slice(),
            };
            for kind in kinds {
                changes.push(Change::Replace(scope.clone(), *kind, self.all(scope, *kind)));
            }
            changes.push(Change::Synced(scope.clone()));
        }
        changes
    }

    fn all(&self, scope: &Scope, kind: ObjectKind) -> Vec<Object> {
        let first = ObjectRef { scope: scope.clone(), kind, name: ObjectName::cluster_scoped("") };
        let objects = self.owners.range(first..);
        let objects = objects.take_while(|(o, _)| o.scope == *scope && o.kind == kind);
        objects.filter_map(|(_, owners)| owners.values().next().cloned()).collect()
    }

    /// What became of the objects of clusters that were there before.
    fn changed(&self, update: &Update) -> Vec<Change> {
        let is_stored = |kind: ObjectKind| kind != ObjectKind::MemberCluster;
        let known = update
            .before
            .iter()
            .filter(|(object, _)| self.listed.contains(&object.scope) && is_stored(object.kind));
        let change = |(object, before): (&ObjectRef, &Option<Object>)| {
            let after = self.current(object);
            if after == before.as_ref() {
                return None;
            }
            let ObjectRef { scope, kind, name } = object.clone();
            Some(match after {
                Some(after) => Change::Upsert(scope, after.clone()),
                None => Change::Delete(scope, kind, name),
            })
        };
        known.filter_map(change).collect()
    }

    fn current(&self, object: &ObjectRef) -> Option<&Object> {
        self.owners.get(object)?.values().next()
    }

    /// Makes `content` what the file holds; `None` if the file is gone.
    fn put(&mut self, path: &Path, content: Option<(&Found, Content)>, update: &mut Update) {
        let old = self.files.remove(path).map(|file| file.objects).unwrap_or_default();
        let Some((found, content)) = content else {
            for object in &old {
                self.disown(path, object, update);
            }
            return;
        };
        let Content { objects, findings, refused, is_whole, judge_again } = content;
        // What cannot be read, or is not legal now, stays as it was.
        let is_kept = |object: &&ObjectRef| !is_whole || refused.contains(object);
        let mut names: BTreeSet<_> = old.iter().filter(is_kept).cloned().collect();
        names.extend(objects.keys().cloned());
        for object in old.difference(&names) {
            self.disown(path, object, update);
        }
        for (name, object) in objects {
            update.remember(self, path, &name);
            self.owners.entry(name).or_default().insert(path.to_owned(), object);
        }
        let scope = found.scope.clone();
        let file = File { scope, stamp: found.stamp, objects: names, findings, judge_again };
        self.files.insert(path.to_owned(), file);
    }

    fn disown(&mut self, path: &Path, object: &ObjectRef, update: &mut Update) {
        update.remember(self, path, object);
        let Some(owners) = self.owners.get_mut(object) else { return };
        owners.remove(path);
        if owners.is_empty() {
            self.owners.remove(object);
        }
    }

    /// Reports about each file, and about each place that could not be looked at.
    fn report(&mut self, scan: &Scan, files: BTreeSet<PathBuf>, changes: &mut Vec<Change>) {
        let stale = self.reported.keys().filter(|path| !self.files.contains_key(*path));
        let mut paths: BTreeSet<_> = stale.cloned().collect();
        paths.extend(scan.unreadable.keys().cloned());
        paths.extend(files);
        for path in paths {
            let diags = self.findings(&path, scan);
            let is_news = match diags.is_empty() {
                true => self.reported.remove(&path).is_some(),
                false => self.reported.insert(path.clone(), diags.clone()).as_ref() != Some(&diags),
            };
            if is_news {
                let source = path.to_string_lossy().into_owned();
                changes.push(Change::Report { source, diags });
            }
        }
    }

    fn findings(&self, path: &Path, scan: &Scan) -> Vec<Diag> {
        let mut diags = Vec::new();
        if let Some(reason) = scan.unreadable.get(path) {
            let name = ObjectName::cluster_scoped(&path.to_string_lossy());
            let at = Field::of(&ObjectRef::fleet(ObjectKind::File, name));
            diags.push(Diag::error(&at, Reason::Unreadable, reason.clone()));
        }
        let Some(file) = self.files.get(path) else { return diags };
        diags.extend(file.findings.iter().cloned());
        for object in &file.objects {
            let first = self.owners.get(object).and_then(|owners| owners.keys().next());
            if let Some(first) = first.filter(|first| *first != path) {
                let message = format!(
                    "{} also holds it and comes first; the one in {} is not used",
                    first.display(),
                    path.display()
                );
                diags.push(Diag::error(&Field::of(object), Reason::DuplicateObject, message));
            }
        }
        diags
    }
}

impl Update {
    /// Notes what an object is before one of its owners changes, and who else is concerned.
    fn remember(&mut self, tree: &Tree, path: &Path, object: &ObjectRef) {
        let others = tree.owners.get(object).into_iter().flat_map(BTreeMap::keys);
        self.files.extend(others.filter(|other| *other != path).cloned());
        self.before.entry(object.clone()).or_insert_with(|| tree.current(object).cloned());
    }
}

/// The declaration that the object is, if it is one.
fn declares(object: &Object) -> Option<&MemberCluster> {
    match object {
        Object::MemberCluster(own) => Some(own),
        Object::Gateway(_)
        | Object::IngressClass(_)
        | Object::Ingress(_)
        | Object::Secret(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Pod(_)
        | Object::Node(_) => None,
    }
}

fn scopes(members: &BTreeSet<MemberId>) -> BTreeSet<Scope> {
    members.iter().cloned().map(Scope::Member).chain([Scope::Fleet]).collect()
}
