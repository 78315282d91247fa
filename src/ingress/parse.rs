//! Ingress → row: everything about one Ingress that does not depend on any other object.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

use crate::{
    diag::{Diag, Field, Reason},
    ingress::{
        annotation::{self, Annotations, Conditions, Custom, Final, Group, Settings, Treatment},
        backend,
        dialect::Dialect,
        host, path,
        row::{Does, IngressRow, PathRule, Role, TlsEntry, TlsScope},
    },
    key::{ObjectKind, ObjectName, ObjectRef, PortRef},
    model::{Arm, Filters, Host, PathMatch, Rewrite, Target},
    settings::GatewayDefaults,
    store::{Ingress, IngressBackend, IngressPath, IngressTls},
};

/// Paths, and hosts without paths, that one Ingress may have; the first ones are kept
/// (faults.md F14, S19).
pub const MAX_ROUTES: usize = 1000;

/// The port of a backend that annotations stand for (semantics.md 2.6).
const BY_ANNOTATION: &str = "use-annotation";

/// What the Ingress says by itself to gateways that read this dialect, and what is wrong with it.
pub fn parse(
    ingress: &Ingress,
    dialect: Dialect,
    defaults: &GatewayDefaults,
) -> (IngressRow, Vec<Diag>) {
    let root = Field::of(&ObjectRef::fleet(ObjectKind::Ingress, ingress.name.clone()));
    let annotations = Annotations::new(&ingress.annotations, dialect, &root);
    let (settings, diags) = annotation::parse(&annotations, defaults);
    let root = root.key("spec");
    let mut parser = Parser { root, settings, defaults, room_for_conditions: MAX_ROUTES, diags };

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
    /// Routes that conditions may still make of paths, besides the one that each is: as many again
    /// as there may be paths.
    room_for_conditions: usize,
    diags: Vec<Diag>,
}

impl Parser<'_> {
    fn row(&mut self, ingress: &Ingress) -> IngressRow {
        if ingress.rules.is_empty() && ingress.default_backend.is_none() {
            let message = "there are neither rules nor a default backend";
            self.diags.push(Diag::warning(&self.root, Reason::InvalidField, message));
        }
        let rules = self.rules(ingress);
        self.unused_annotations();
        let tls = ingress.tls.iter().enumerate();
        let tls = tls.filter_map(|(idx, entry)| self.tls(idx, entry, &rules)).collect();
        let default_backend =
            ingress.default_backend.as_ref().and_then(|backend| self.default_backend(backend));
        IngressRow {
            name: ingress.name.clone(),
            created: ingress.created,
            order: self.settings.order,
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
                rules.entry(host.clone()).or_default();
                for (idx, path) in rule.paths.iter().take(room).enumerate() {
                    let at = at.key("http").index("paths", idx);
                    match self.path(path, &host, &at) {
                        Ok(all) => all.into_iter().for_each(|(host, rule)| {
                            rules.entry(host).or_default().push(rule);
                        }),
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

    /// Conditions and actions of a backend that no rule has.
    fn unused_annotations(&mut self) {
        let unused = self.settings.custom.iter().filter(|(_, (_, is_used))| !is_used);
        for (service, _) in unused {
            let message =
                format!("no rule has the backend {service:?} that an annotation is about");
            let at = Field::of(&self.root.object);
            self.diags.push(Diag::warning(&at, Reason::InvalidAnnotation, message));
        }
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

    /// The rules of one path: more than one, if its conditions name further hosts or paths.
    fn path(
        &mut self,
        written: &IngressPath,
        host: &Host,
        at: &Field,
    ) -> Result<Vec<(Host, PathRule)>, Diag> {
        let mode = self.settings.path_mode;
        let own = path::parse(written.path.as_deref(), written.path_type, mode)
            .map_err(|(reason, message)| Diag::error(&at.key("path"), reason, message))?;
        let custom = match self.custom(&written.backend) {
            Some(Some(custom)) => custom,
            // It was said on the annotation.
            Some(None) => return Ok(Vec::new()),
            None => Custom::default(),
        };
        let does = if custom.is_denied {
            Does::Deny
        } else {
            self.does(&written.backend, &custom, &at.key("backend"))?
        };
        let Conditions { hosts, paths, when } = custom.conditions;
        let filters = merged(custom.actions.filters, &self.settings.filters);

        // What is not written is replaced by what is; the rest is added to.
        let is_any = *host == Host::Any && !hosts.is_empty();
        let hosts: BTreeSet<_> = hosts.into_iter().chain((!is_any).then(|| host.clone())).collect();
        let is_bare = written.path.is_none() && !paths.is_empty();
        let paths: Vec<_> = (!is_bare).then_some(own).into_iter().chain(paths).collect();
        let n_more = (hosts.len() * paths.len() * when.len()).saturating_sub(1);
        let Some(room) = self.room_for_conditions.checked_sub(n_more) else {
            let message =
                format!("conditions make more than {MAX_ROUTES} routes: it is not served");
            return Err(Diag::error(at, Reason::LimitExceeded, message));
        };
        self.room_for_conditions = room;
        let mut rules = Vec::new();
        for path in paths {
            let rule = PathRule {
                at: at.clone(),
                rewrite: self.rewrite(&path.matcher, at),
                path: path.matcher,
                length: path.length,
                when: when.clone(),
                does: does.clone(),
                filters: filters.clone(),
            };
            rules.extend(hosts.iter().map(|host| (host.clone(), rule.clone())));
        }
        Ok(rules)
    }

    /// What is said of rules with this backend: `Some(None)` if it is refused.
    fn custom(&mut self, backend: &IngressBackend) -> Option<Option<Custom>> {
        match backend {
            IngressBackend::Service { name, port: _ } => {
                let (custom, is_used) = self.settings.custom.get_mut(&**name)?;
                *is_used = true;
                Some(custom.clone())
            }
            IngressBackend::Unsupported => None,
        }
    }

    fn does(&self, backend: &IngressBackend, custom: &Custom, at: &Field) -> Result<Does, Diag> {
        let refuse = |message: &str| Err(Diag::error(at, Reason::InvalidAnnotation, message));
        match (&custom.actions.last, is_named_by_annotation(backend)) {
            (None, false) => Ok(Does::Forward(self.target(backend, at)?)),
            (None, true) => refuse("no action of the annotation ends the request"),
            (Some(_), false) => refuse(
                "an action ends the request, and the backend would take it too; its port is to be \
                 called `use-annotation`",
            ),
            (Some(Final::Redirect(redirect)), true) => Ok(Does::Redirect(redirect.clone())),
            (Some(Final::Answer(answer)), true) => Ok(Does::Answer(answer.clone())),
            (Some(Final::Groups(groups)), true) => {
                let arms: Result<Vec<_>, _> =
                    groups.iter().filter_map(|group| self.arm(group, at)).collect();
                Ok(Does::Split(arms?))
            }
        }
    }

    /// `None` if its share is nothing.
    fn arm(&self, group: &Group, at: &Field) -> Option<Result<Arm, Diag>> {
        let weight = NonZeroU32::new(group.weight)?;
        let backend =
            IngressBackend::Service { name: group.service.clone(), port: Some(group.port.clone()) };
        let target = self.target(&backend, at);
        Some(target.map(|target| Arm { target, weight, origin: at.clone() }))
    }

    fn rewrite(&mut self, path: &PathMatch, at: &Field) -> Option<Rewrite> {
        let template = self.settings.rewrite.as_ref()?;
        path::rewrite(path, template)
            .inspect_err(|problem| {
                let message = format!("{problem}; the path is passed on as it is");
                let at = at.key("path");
                self.diags.push(Diag::error(&at, Reason::InvalidAnnotation, message));
            })
            .ok()
    }

    fn default_backend(&mut self, backend: &IngressBackend) -> Option<PathRule> {
        let at = self.root.key("defaultBackend");
        match self.target(backend, &at) {
            Ok(target) => Some(PathRule {
                at,
                path: PathMatch::Any,
                length: 0,
                when: Conditions::default().when,
                does: Does::Forward(target),
                rewrite: None,
                filters: self.settings.filters.clone(),
            }),
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
        let own = Target {
            weights,
            health_check: self.settings.health_check.clone(),
            balance: self.settings.balance.clone(),
            ..Target::of(backend, self.settings.subset.clone())
        };
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

fn is_named_by_annotation(backend: &IngressBackend) -> bool {
    match backend {
        IngressBackend::Service { port: Some(PortRef::Name(name)), .. } => **name == *BY_ANNOTATION,
        IngressBackend::Service { .. } | IngressBackend::Unsupported => false,
    }
}

/// An action of a rule takes the place of its Ingress's.
fn merged(own: Filters, ingress: &Filters) -> Filters {
    Filters {
        limit: own.limit.or(ingress.limit),
        cors: own.cors.or_else(|| ingress.cors.clone()),
        headers: own.headers,
    }
}

#[cfg(test)]
mod tests;
