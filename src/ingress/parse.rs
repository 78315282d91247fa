//! Ingress → row: everything about one Ingress that does not depend on any other object.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    diag::{Diag, Field, Reason},
    ingress::{
        annotation::{self, Annotations, Settings, Treatment},
        backend,
        dialect::Dialect,
        host, path,
        row::{IngressRow, PathRule, Role, TlsEntry, TlsScope},
    },
    key::{ObjectKind, ObjectName, ObjectRef},
    model::{Host, PathMatch, Target},
    settings::GatewayDefaults,
    store::{Ingress, IngressBackend, IngressPath, IngressTls},
};

/// Paths, and hosts without paths, that one Ingress may have; the first ones are kept
/// (faults.md F14, S19).
pub const MAX_ROUTES: usize = 1000;

/// What the Ingress says by itself to gateways that read this dialect, and what is wrong with it.
pub fn parse(
    ingress: &Ingress,
    dialect: Dialect,
    defaults: &GatewayDefaults,
) -> (IngressRow, Vec<Diag>) {
    let root = Field::of(&ObjectRef::fleet(ObjectKind::Ingress, ingress.name.clone()));
    let annotations = Annotations::new(&ingress.annotations, dialect, &root);
    let (settings, diags) = annotation::parse(&annotations, defaults);
    let mut parser = Parser { root: root.key("spec"), settings, defaults, diags };

    let mut row = parser.row(ingress);
    match parser.settings.treatment {
        Treatment::Served => {}
        Treatment::Denied => row.is_denied = true,
        Treatment::Withheld => {
            row.rules.clear();
            row.default_backend = None;
        }
    }
    // A canary has no say about certificates and unmatched requests (semantics.md 4.2).
    if row.role != Role::Main {
        row.default_backend = None;
        row.tls.clear();
    }
    (row, parser.diags)
}

struct Parser<'a> {
    /// `spec`.
    root: Field,
    settings: Settings,
    defaults: &'a GatewayDefaults,
    diags: Vec<Diag>,
}

impl Parser<'_> {
    fn row(&mut self, ingress: &Ingress) -> IngressRow {
        if ingress.rules.is_empty() && ingress.default_backend.is_none() {
            let message = "there are neither rules nor a default backend";
            self.diags.push(Diag::warning(&self.root, Reason::InvalidField, message));
        }
        let rules = self.rules(ingress);
        let tls = ingress.tls.iter().enumerate();
        let tls = tls.filter_map(|(idx, entry)| self.tls(idx, entry, &rules)).collect();
        let default_backend =
            ingress.default_backend.as_ref().and_then(|backend| self.default_backend(backend));
        IngressRow {
            name: ingress.name.clone(),
            created: ingress.created,
            role: self.settings.role.clone(),
            is_denied: false,
            policy: self.settings.policy,
            listens: self.settings.listens.clone(),
            rules,
            default_backend,
            tls,
        }
    }

    fn rules(&mut self, ingress: &Ingress) -> BTreeMap<Host, Vec<PathRule>> {
        let mut rules: BTreeMap<Host, Vec<PathRule>> = BTreeMap::new();
        let mut room = MAX_ROUTES;
        for (idx, rule) in ingress.rules.iter().enumerate() {
            let at = self.root.index("rules", idx);
            let n_routes = rule.paths.len().max(1);
            if let Some(host) = self.host(rule.host.as_deref(), &at.key("host")) {
                let paths = rules.entry(host).or_default();
                for (idx, path) in rule.paths.iter().take(room).enumerate() {
                    match self.path(path, at.key("http").index("paths", idx)) {
                        Ok(path) => paths.push(path),
                        Err(diag) => self.diags.push(diag),
                    }
                }
            }
            if n_routes > room {
                let message = format!("more than {MAX_ROUTES} routes: the rest is not served");
                self.diags.push(Diag::error(&at, Reason::LimitExceeded, message));
                break;
            }
            room -= n_routes;
        }
        rules
    }

    fn host(&mut self, text: Option<&str>, at: &Field) -> Option<Host> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Some(Host::Any) };
        match host::parse(text) {
            Ok(host) => Some(host),
            Err(problem) => {
                self.diags.push(Diag::error(at, Reason::InvalidHost, problem));
                None
            }
        }
    }

    fn path(&self, rule: &IngressPath, at: Field) -> Result<PathRule, Diag> {
        let path = path::parse(rule.path.as_deref(), rule.path_type, self.settings.path_mode)
            .map_err(|(reason, message)| Diag::error(&at.key("path"), reason, message))?;
        let target = self.target(&rule.backend, &at.key("backend"))?;
        Ok(PathRule { at, path: path.matcher, length: path.length, target })
    }

    fn default_backend(&mut self, backend: &IngressBackend) -> Option<PathRule> {
        let at = self.root.key("defaultBackend");
        match self.target(backend, &at) {
            Ok(target) => Some(PathRule { at, path: PathMatch::Any, length: 0, target }),
            Err(diag) => {
                self.diags.push(diag);
                None
            }
        }
    }

    /// The chain of semantics.md 5.4, without what a canary gets from its main.
    fn target(&self, backend: &IngressBackend, at: &Field) -> Result<Arc<Target>, Diag> {
        let backend = backend::parse(backend, at, self.defaults)?;
        let weights = self.settings.weights.clone();
        let own = Target { weights, ..Target::of(backend, self.settings.subset.clone()) };
        Ok(Arc::new(match (&self.settings.role, &self.settings.fallback) {
            (Role::Main, Some(fallback)) => own.or(fallback),
            (Role::Main, None) | (Role::Canary(_), _) => own,
        }))
    }

    fn tls(
        &mut self,
        idx: usize,
        entry: &IngressTls,
        rules: &BTreeMap<Host, Vec<PathRule>>,
    ) -> Option<TlsEntry> {
        let at = self.root.index("tls", idx);
        let mut hosts = BTreeSet::new();
        for (idx, text) in entry.hosts.iter().enumerate() {
            let at = at.index("hosts", idx);
            match host::parse(text) {
                Ok(host) if rules.contains_key(&host) => {
                    hosts.insert(host);
                }
                Ok(host) => {
                    let message = format!("{host} is the host of no rule, so this has no effect");
                    self.diags.push(Diag::warning(&at, Reason::InvalidHost, message));
                }
                Err(problem) => self.diags.push(Diag::error(&at, Reason::InvalidHost, problem)),
            }
        }
        let secret = entry.secret.as_ref().filter(|secret| !secret.is_empty());
        let Some(secret) = secret else {
            let message = "the name of the Secret is missing";
            self.diags.push(Diag::error(&at.key("secretName"), Reason::InvalidField, message));
            return None;
        };
        let namespace = at.object.name.namespace.clone();
        let secret = ObjectName { namespace, name: secret.clone() };
        // An entry that names hosts is never the default, not even if all of them are refused.
        let scope = if entry.hosts.is_empty() { TlsScope::Default } else { TlsScope::Hosts(hosts) };
        Some(TlsEntry { at, scope, secret })
    }
}

#[cfg(test)]
mod tests;
