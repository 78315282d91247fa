//! What the Envoys of one gateway may see at one revision.

use std::{sync::Arc, time::Instant};

use imbl::{OrdMap, Vector};

use crate::snapshot::{Kind, Resource, Version, former::Former};

/// How many change lists a view remembers. A stream that fell further behind compares whole;
/// at one commit each 10 ms this covers a third of a second, far longer than a wake takes.
const CHANGE_LISTS: usize = 32;

/// All resources of one gateway. Cloning is cheap; the maps share their nodes.
#[derive(Clone, Debug, Default)]
pub struct GatewayView {
    /// Grows with every commit that changes this gateway.
    pub revision: u64,
    /// Whether it knows all members of the gateway.
    pub coverage: Coverage,
    /// When the first of the changes that made it came to the engine; set by whoever publishes it,
    /// and no part of what is published.
    pub since: Option<Instant>,
    tables: [Table; Kind::ALL.len()],
    recent: Vector<ChangeList>,
    former: Former,
}

/// Whether a view knows what every member of its gateway has (xds.md 3.15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coverage {
    /// Every member was read to the end once.
    #[default]
    Whole,
    /// Some member never was, and is waited for.
    Awaited,
    /// Some member never was, and nobody waits for it any more.
    Partial,
}

/// The names that one commit changed.
type ChangeList = Arc<[(Kind, Arc<str>)]>;

/// The resources of one type, by name.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: OrdMap<Arc<str>, Arc<Resource>>,
}

impl Table {
    /// The resource of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.rows.get(name)
    }

    /// All resources, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.rows.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl GatewayView {
    /// The resources of a type.
    pub fn table(&self, kind: Kind) -> &Table {
        let idx = Kind::ALL.iter().position(|k| *k == kind);
        idx.and_then(|idx| self.tables.get(idx)).expect("invariant: a table for every kind")
    }

    /// The same view of changes that came at this moment. It shares everything in it.
    pub fn at(&self, since: Instant) -> GatewayView {
        GatewayView { since: Some(since), ..self.clone() }
    }

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.table(kind).get(name)
    }

    /// What changed since `old`, oldest first and perhaps repeated; `None` if that is no longer
    /// known, or never was because this view does not descend from `old`, as when a gateway was
    /// deleted and made again. The whole view must be compared then.
    pub fn changes_since(
        &self,
        old: &GatewayView,
    ) -> Option<impl Iterator<Item = &(Kind, Arc<str>)>> {
        let behind = usize::try_from(self.revision.checked_sub(old.revision)?).ok()?;
        let skip = self.recent.len().checked_sub(behind)?;
        let own = skip.checked_sub(1).and_then(|idx| self.recent.get(idx));
        let descends = match (own, old.recent.last()) {
            (Some(own), Some(old)) => Arc::ptr_eq(own, old),
            // The first view of all has no change; every view descends from it.
            (own, old) => own.is_none() && old.is_none(),
        };
        descends.then(|| self.recent.iter().skip(skip).flat_map(|list| list.iter()))
    }

    /// Whether this version of a resource was published here, now or not long ago. Such a version
    /// holds nothing of a member that this process never read.
    pub fn has_published(&self, kind: Kind, name: &str, version: Version) -> bool {
        let current = self.get(kind, name).map(|resource| resource.version);
        current == Some(version) || self.former.contains(version)
    }

    /// The next view, which knows as much as this one: `None` removes. Returns `None` if nothing
    /// differs from this view.
    pub fn commit(
        &self,
        changes: impl IntoIterator<Item = (Kind, Arc<str>, Option<Resource>)>,
    ) -> Option<GatewayView> {
        self.commit_as(self.coverage, changes)
    }

    /// The next view, and what it knows: `None` removes. Returns `None` if nothing differs from
    /// this view.
    pub fn commit_as(
        &self,
        coverage: Coverage,
        changes: impl IntoIterator<Item = (Kind, Arc<str>, Option<Resource>)>,
    ) -> Option<GatewayView> {
        let mut next = GatewayView { coverage, ..self.clone() };
        let mut changed = Vec::new();
        for (kind, name, resource) in changes {
            let idx = Kind::ALL.iter().position(|k| *k == kind);
            let table = idx.and_then(|idx| next.tables.get_mut(idx));
            let rows = &mut table.expect("invariant: a table for every kind").rows;
            let old = rows.get(&name).map(|old| old.version);
            if old == resource.as_ref().map(|new| new.version) {
                continue;
            }
            match resource {
                Some(new) => _ = rows.insert(name.clone(), Arc::new(new)),
                None => _ = rows.remove(&name),
            }
            old.into_iter().for_each(|old| next.former.add(old));
            changed.push((kind, name));
        }
        if changed.is_empty() && coverage == self.coverage {
            return None;
        }
        next.revision += 1;
        next.recent.push_back(changed.into());
        while next.recent.len() > CHANGE_LISTS {
            next.recent.pop_front();
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` is a cluster, with this content or gone.
    fn set(name: &str, content: Option<&str>) -> (Kind, Arc<str>, Option<Resource>) {
        let make = |text: &str| Resource::new(Kind::Cluster, name.into(), text.as_bytes(), vec![]);
        (Kind::Cluster, name.into(), content.map(make))
    }

    fn since(view: &GatewayView, old: &GatewayView) -> Option<Vec<String>> {
        let changes = view.changes_since(old)?;
        Some(changes.map(|(kind, name)| format!("{kind} {name}")).collect())
    }

    #[test]
    fn a_commit_that_changes_nothing_is_none() {
        let view = GatewayView::default().commit([set("a", Some("1"))]).unwrap();
        assert!(view.commit([set("a", Some("1")), set("b", None)]).is_none());
        assert!(view.commit([]).is_none());
    }

    #[test]
    fn changes_are_told_since_any_revision_that_is_remembered() {
        let zero = GatewayView::default();
        let one = zero.commit([set("a", Some("1"))]).unwrap();
        let two = one.commit([set("a", Some("1")), set("b", Some("1"))]).unwrap();
        let three = two.commit([set("a", None)]).unwrap();
        assert_eq!(three.revision, 3);
        assert_eq!(since(&three, &three), Some(vec![]));
        assert_eq!(since(&three, &two), Some(vec!["cds a".into()]));
        assert_eq!(since(&three, &one), Some(vec!["cds b".into(), "cds a".into()]));
        assert_eq!(
            since(&three, &zero),
            Some(vec!["cds a".into(), "cds b".into(), "cds a".into()])
        );
        assert_eq!(since(&one, &three), None, "an older view");
        assert!(one.get(Kind::Cluster, "b").is_none(), "a view never changes");
    }

    #[test]
    fn a_view_of_another_history_must_be_compared_whole() {
        let one = GatewayView::default().commit([set("a", Some("1"))]).unwrap();
        let other = GatewayView::default().commit([set("b", Some("1"))]).unwrap();
        let later = other.commit([set("c", Some("1"))]).unwrap();
        assert_eq!(since(&other, &one), None, "the same revision");
        assert_eq!(since(&later, &one), None);
    }

    #[test]
    fn what_is_too_long_ago_must_be_compared_whole() {
        let mut views = vec![GatewayView::default()];
        for content in 0..=CHANGE_LISTS {
            let last = &views[views.len() - 1];
            views.push(last.commit([set("a", Some(&content.to_string()))]).unwrap());
        }
        let newest = &views[views.len() - 1];
        assert_eq!(since(newest, &views[0]), None);
        assert_eq!(since(newest, &views[1]), None, "its own change list is forgotten");
        assert_eq!(since(newest, &views[2]).map(|c| c.len()), Some(CHANGE_LISTS - 1));
    }

    #[test]
    fn what_a_view_knows_is_a_change_without_names() {
        let one = GatewayView::default().commit([set("a", Some("1"))]).unwrap();
        let two = one.commit_as(Coverage::Partial, []).unwrap();
        assert_eq!(since(&two, &one), Some(vec![]));
        assert!(two.commit_as(Coverage::Partial, []).is_none());
        let three = two.commit([set("a", Some("2"))]).unwrap();
        assert_eq!(three.coverage, Coverage::Partial);
        assert_eq!(since(&three, &one), Some(vec!["cds a".into()]));
    }

    #[test]
    fn versions_that_were_published_are_remembered() {
        let one = GatewayView::default().commit([set("a", Some("1"))]).unwrap();
        let two = one.commit([set("a", Some("2"))]).unwrap();
        let three = two.commit([set("a", None)]).unwrap();
        let knows = |view: &GatewayView, text: &str| {
            view.has_published(Kind::Cluster, "a", Version::of(text.as_bytes()))
        };
        for (content, expect) in [("1", [true; 3]), ("2", [false, true, true]), ("3", [false; 3])] {
            assert_eq!([&one, &two, &three].map(|view| knows(view, content)), expect, "{content}");
        }
    }

    #[test]
    fn a_table_is_ordered_by_name() {
        let view = GatewayView::default();
        let view = view.commit([set("b", Some("1")), set("a", Some("1"))]).unwrap();
        let names: Vec<_> = view.table(Kind::Cluster).iter().map(|r| &*r.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(view.table(Kind::Cluster).len(), 2);
        assert!(view.table(Kind::Route).is_empty());
    }
}
