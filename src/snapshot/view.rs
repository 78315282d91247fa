//! What the Envoys of one gateway may see at one revision.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::snapshot::{Kind, Resource};

/// How many change lists a view remembers. A stream that fell further behind compares whole;
/// at one commit each 10 ms this covers a third of a second, far longer than a wake takes.
const CHANGE_LISTS: usize = 32;

/// All resources of one gateway. Cloning is cheap; the maps share their nodes.
#[derive(Clone, Debug, Default)]
pub struct GatewayView {
    /// Grows with every commit that changes this gateway.
    pub revision: u64,
    tables: [Table; Kind::ALL.len()],
    recent: Vector<ChangeList>,
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

    /// One resource.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.table(kind).get(name)
    }

    /// What changed after `revision`, oldest first and perhaps repeated; `None` if that is no
    /// longer known and the whole view must be compared.
    pub fn changes_since(&self, revision: u64) -> Option<impl Iterator<Item = &(Kind, Arc<str>)>> {
        let behind = usize::try_from(self.revision.checked_sub(revision)?).ok()?;
        let skip = self.recent.len().checked_sub(behind)?;
        Some(self.recent.iter().skip(skip).flat_map(|list| list.iter()))
    }

    /// The next view: `None` removes. Returns `None` if nothing differs from this view.
    pub fn commit(
        &self,
        changes: impl IntoIterator<Item = (Kind, Arc<str>, Option<Resource>)>,
    ) -> Option<GatewayView> {
        let mut next = self.clone();
        let mut changed = Vec::new();
        for (kind, name, resource) in changes {
            let idx = Kind::ALL.iter().position(|k| *k == kind);
            let table = idx.and_then(|idx| next.tables.get_mut(idx));
            let rows = &mut table.expect("invariant: a table for every kind").rows;
            let differs = match resource {
                Some(new) if rows.get(&name).is_some_and(|old| old.version == new.version) => false,
                Some(new) => {
                    rows.insert(name.clone(), Arc::new(new));
                    true
                }
                None => rows.remove(&name).is_some(),
            };
            if differs {
                changed.push((kind, name));
            }
        }
        if changed.is_empty() {
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
