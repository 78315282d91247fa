//! What the watches of the registry have seen so far. Pure.
//!
//! Owns the rule that nothing is concluded before everything was listed once, and that a failing
//! watch takes nothing away (faults.md, Principles P2). Must not know clients or tasks.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;
use kube::{core::DynamicObject, runtime::watcher::Event};

use crate::{
    diag::Diag,
    key::{MemberId, ObjectName},
    source::{
        decode::is_subdomain,
        registry::{
            Declarations, DeclaredCluster, DeclaredSecret, Registration, declared, keep_gone,
            registrations,
        },
    },
};

/// One watch of Secrets: by label in a namespace, or one Secret by name, because a `MemberCluster`
/// refers to it. No watch sees Secrets that are neither (faults.md S3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SecretWatch {
    /// Namespace and label selector.
    Labelled(String, &'static str),
    /// Namespace and name.
    Named(ObjectName),
}

/// Everything seen, and what it came to last time.
#[derive(Debug, Default)]
pub(super) struct Seen {
    namespaces: BTreeSet<String>,
    clusters: View<Result<DeclaredCluster, Diag>>,
    secrets: BTreeMap<SecretWatch, View<DeclaredSecret>>,
    last: BTreeMap<MemberId, Registration>,
}

impl Seen {
    pub(super) fn new(namespaces: BTreeSet<String>, watches: &BTreeSet<SecretWatch>) -> Seen {
        let secrets = watches.iter().map(|watch| (watch.clone(), View::default())).collect();
        Seen { namespaces, secrets, ..Seen::default() }
    }

    pub(super) fn cluster(&mut self, event: Event<DynamicObject>) {
        let name = |object: &DynamicObject| declared::object_name(&object.metadata);
        self.clusters.apply(event, name, declared::cluster);
    }

    /// An event of a watch that has ended in the meantime is ignored.
    pub(super) fn secret(&mut self, watch: &SecretWatch, event: Event<core::Secret>) {
        let Some(view) = self.secrets.get_mut(watch) else { return };
        let name = |object: &core::Secret| declared::object_name(&object.metadata);
        view.apply(event, name, DeclaredSecret::from);
    }

    /// The API answered that the kind is not served: as if there were none.
    pub(super) fn absent(&mut self, watch: Option<&SecretWatch>) {
        match watch {
            None => self.clusters.is_listed = true,
            Some(watch) => {
                if let Some(view) = self.secrets.get_mut(watch) {
                    view.is_listed = true;
                }
            }
        }
    }

    /// Secrets that are referred to come to be watched by name, and others cease to be. Returns
    /// the watches that have to begin and those that have to end.
    pub(super) fn follow_references(&mut self) -> (Vec<SecretWatch>, Vec<SecretWatch>) {
        let clusters = self.clusters.objects.values().flatten();
        let refs = clusters.filter_map(|cluster| cluster.spec.secret_ref.as_ref());
        let refs = refs.filter(|own| self.namespaces.contains(&own.namespace));
        // The API refuses to look for what nothing can be called, and would be waited for.
        let refs = refs.filter(|own| is_subdomain(&own.name));
        let wanted: BTreeSet<_> = refs
            .map(|own| SecretWatch::Named(ObjectName::new(&own.namespace, &own.name)))
            .collect();
        let named = self.secrets.keys().filter(|watch| matches!(watch, SecretWatch::Named(_)));
        let ended: Vec<_> = named.filter(|watch| !wanted.contains(watch)).cloned().collect();
        let begun: Vec<_> =
            wanted.into_iter().filter(|watch| !self.secrets.contains_key(watch)).collect();
        self.secrets.retain(|watch, _| !ended.contains(watch));
        self.secrets.extend(begun.iter().map(|watch| (watch.clone(), View::default())));
        (begun, ended)
    }

    /// What it all comes to; `None` until everything was listed once.
    pub(super) fn registrations(
        &mut self,
    ) -> Option<(BTreeMap<MemberId, Registration>, Vec<Diag>)> {
        let is_listed = self.clusters.is_listed && self.secrets.values().all(|v| v.is_listed);
        if !is_listed {
            return None;
        }
        let secrets = self.secrets.values().flat_map(|view| &view.objects);
        let clusters = self.clusters.objects.iter();
        let clusters = clusters.filter_map(|(name, own)| Some((name, own.as_ref().ok()?)));
        let declared = Declarations {
            namespaces: self.namespaces.clone(),
            secrets: secrets.map(|(name, own)| (name.clone(), own.clone())).collect(),
            clusters: clusters.map(|(name, own)| (name.clone(), own.clone())).collect(),
        };
        let (mut members, mut diags) = registrations(&declared);
        diags.extend(self.clusters.objects.values().filter_map(|own| own.as_ref().err()).cloned());
        keep_gone(&self.last, &mut members);
        self.last.clone_from(&members);
        Some((members, diags))
    }
}

/// The objects of one watch.
#[derive(Debug)]
struct View<T> {
    objects: BTreeMap<ObjectName, T>,
    /// Objects of a list that is not complete yet.
    listing: BTreeMap<ObjectName, T>,
    is_listed: bool,
}

impl<T> Default for View<T> {
    fn default() -> Self {
        View { objects: BTreeMap::new(), listing: BTreeMap::new(), is_listed: false }
    }
}

impl<T> View<T> {
    fn apply<K>(
        &mut self,
        event: Event<K>,
        name: impl Fn(&K) -> ObjectName,
        trim: impl Fn(K) -> T,
    ) {
        match event {
            Event::Apply(object) => {
                self.objects.insert(name(&object), trim(object));
            }
            Event::Delete(object) => {
                self.objects.remove(&name(&object));
            }
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                self.listing.insert(name(&object), trim(object));
            }
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.listing);
                self.is_listed = true;
            }
        }
    }
}
