//! `conditions.<service>`, `actions.<service>`, `rule-direction.<service>`: what the rules with
//! this backend are for, and what happens there (semantics.md 2.6).
//!
//! All or nothing: if any part of it cannot be served, none of these rules is, because a condition
//! that is left out would give a rule requests that are meant for others.

mod actions;
mod conditions;
mod json;

use std::collections::{BTreeMap, BTreeSet};

pub(in crate::ingress) use actions::{Actions, Final, Group};
pub(in crate::ingress) use conditions::Conditions;

use crate::{
    diag::{Diag, Reason},
    ingress::{
        annotation::{Annotations, Entry, rate_limit, value},
        dialect::Dialect,
        row::Role,
    },
};

/// What the keys begin with; the name of a Service follows.
pub(super) const FAMILIES: [&str; 3] = [CONDITIONS, ACTIONS, DIRECTION];
const CONDITIONS: &str = "conditions.";
const ACTIONS: &str = "actions.";
const DIRECTION: &str = "rule-direction.";

/// Of the rules with one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::ingress) struct Custom {
    pub(in crate::ingress) conditions: Conditions,
    pub(in crate::ingress) actions: Actions,
    /// Its actions are refused. They may protect, and without the rule its requests would be
    /// another's (faults.md F15).
    pub(in crate::ingress) is_denied: bool,
}

/// By the name of the Service: `None` where it is refused, which was said; and whether a rule has
/// used it.
pub(in crate::ingress) type Customs = BTreeMap<String, (Option<Custom>, bool)>;

/// Reads them.
pub(super) fn parse(annotations: &Annotations<'_>, role: &Role, diags: &mut Vec<Diag>) -> Customs {
    match annotations.dialect {
        Dialect::Mse => return Customs::new(),
        Dialect::Alb => {}
    }
    let mut by_service: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, _) in annotations.iter() {
        for family in FAMILIES {
            if let Some(service) = key.strip_prefix(family) {
                by_service.entry(service).or_default().insert(family);
            }
        }
    }
    let read = by_service.into_iter().map(|(service, families)| {
        let found = families
            .into_iter()
            .filter_map(|family| Some((family, annotations.get(&format!("{family}{service}"))?)));
        (service.to_owned(), (custom(found, role, diags), false))
    });
    read.collect()
}

/// `None` if conditions are refused, which narrow; each refusal is said.
fn custom<'a>(
    found: impl Iterator<Item = (&'a str, Entry<'a>)>,
    role: &Role,
    diags: &mut Vec<Diag>,
) -> Option<Custom> {
    let mut custom = Custom::default();
    let mut is_refused = false;
    for (family, entry) in found {
        let read = match role {
            Role::Canary(_) => Err("a canary has none of its own".into()),
            Role::Main => custom.read(family, &entry, diags),
        };
        if let Err(problem) = read {
            let narrows = family == CONDITIONS || *role != Role::Main;
            let effect = if narrows { "are not served" } else { "answer 403" };
            let message = format!("{problem}; the rules with this backend {effect}");
            diags.push(Diag::error(&entry.at, Reason::InvalidAnnotation, message));
            is_refused |= narrows;
            custom.is_denied |= !narrows;
        }
    }
    (!is_refused).then_some(custom)
}

impl Custom {
    fn read(
        &mut self,
        family: &str,
        entry: &Entry<'_>,
        diags: &mut Vec<Diag>,
    ) -> Result<(), String> {
        match family {
            CONDITIONS => self.conditions = conditions::parse(entry.value)?,
            ACTIONS => {
                self.actions = actions::parse(entry.value)?;
                diags.extend(note(&self.actions, entry));
            }
            _direction => direction(entry.value)?,
        }
        Ok(())
    }
}

/// What the author of a limit should know.
fn note(actions: &Actions, entry: &Entry<'_>) -> Option<Diag> {
    let note = |_| Diag::warning(&entry.at, Reason::LimitPerEnvoy, rate_limit::NOTE);
    actions.filters.limit.map(note)
}

fn direction(text: &str) -> Result<(), String> {
    match text {
        "Request" => Ok(()),
        "Response" => Err("rules about answers are not served".into()),
        other => Err(format!("{} is neither Request nor Response", value::quote(other))),
    }
}

#[cfg(test)]
mod tests;
