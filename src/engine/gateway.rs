//! One gateway's derived state: attachments, hosts, targets, and its published view.
//!
//! Owns the per-gateway stages and their reverse indexes. Must not know where objects come from
//! or who reads the view. Cost: each stage visits only what is dirty.

mod hosts;
mod publish;
mod targets;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    engine::{Stages, findings::Row},
    gateway::attaches,
    ingress::{Dialect, IngressRow},
    key::{GatewayId, MemberId, ObjectName},
    model::{self, Certificates, Host, ListenerKey, MemberOrder},
    snapshot::{Coverage, GatewayView},
    store::{self, Member, Store},
};

use hosts::HostState;
use targets::Targets;

/// What a gateway must look at again.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Ingresses whose object changed or whose attachment must be judged again.
    pub(super) ingresses: BTreeSet<ObjectName>,
    /// Secrets that changed.
    pub(super) secrets: BTreeSet<ObjectName>,
    /// Services of members whose shards changed.
    pub(super) services: BTreeSet<(ObjectName, MemberId)>,
    /// Members that were registered, unregistered or moved.
    pub(super) members: BTreeSet<MemberId>,
    /// The gateway object itself.
    object: ObjectChange,
}

/// What changed in the gateway object.
#[derive(Debug, Default)]
struct ObjectChange {
    attachment: bool,
    /// Which members it has, or which it prefers.
    members: bool,
    listeners: bool,
    /// Which listeners there are.
    hosts: bool,
    /// What routes take from their listeners.
    fronts: bool,
}

impl ObjectChange {
    const ALL: ObjectChange = ObjectChange {
        attachment: true,
        members: true,
        listeners: true,
        hosts: true,
        fronts: true,
    };
}

/// A gateway with everything derived for it.
#[derive(Debug)]
pub(super) struct GatewayState {
    gateway: model::Gateway,
    /// By Ingress: when it was created, and the hosts it contributes to.
    attached: BTreeMap<ObjectName, (i64, BTreeSet<Host>)>,
    /// By host: its Ingresses, oldest first.
    contributors: BTreeMap<Host, BTreeSet<(i64, ObjectName)>>,
    hosts: BTreeMap<Host, HostState>,
    /// By Secret: the hosts that name it.
    secrets: BTreeMap<ObjectName, BTreeSet<Host>>,
    /// Secrets that began or ceased to be named since the last update.
    secret_uses: BTreeSet<ObjectName>,
    /// Listeners that are there: of TLS, those with a certificate.
    open: BTreeSet<ListenerKey>,
    /// Listeners that the object no longer declares.
    gone: BTreeSet<ListenerKey>,
    /// What the open listeners of TLS prove themselves with.
    certificates: Arc<Certificates>,
    targets: Targets,
    view: Arc<GatewayView>,
    pending: ObjectChange,
}

/// What the stages found to differ, for the stage that encodes.
#[derive(Debug, Default)]
struct Changed {
    /// Hosts whose rows differ, or whose targets changed form.
    hosts: BTreeSet<Host>,
    /// Whether the certificates of the TLS listener, or a port, may differ.
    listeners: bool,
}

impl GatewayState {
    pub(super) fn new(gateway: model::Gateway) -> GatewayState {
        GatewayState {
            gateway,
            attached: BTreeMap::new(),
            contributors: BTreeMap::new(),
            hosts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            secret_uses: BTreeSet::new(),
            open: BTreeSet::new(),
            gone: BTreeSet::new(),
            certificates: Arc::default(),
            targets: Targets::default(),
            view: Arc::default(),
            pending: ObjectChange::ALL,
        }
    }

    pub(super) fn id(&self) -> &GatewayId {
        &self.gateway.id
    }

    pub(super) fn gateway(&self) -> &model::Gateway {
        &self.gateway
    }

    pub(super) fn view(&self) -> &Arc<GatewayView> {
        &self.view
    }

    pub(super) fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    pub(super) fn members(&self) -> &MemberOrder {
        &self.gateway.members
    }

    pub(super) fn named_secrets(&self) -> impl Iterator<Item = &ObjectName> {
        self.secrets.keys()
    }

    pub(super) fn labelled_namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.targets.labelled_namespaces()
    }

    pub(super) fn uses_secret(&self, secret: &ObjectName) -> bool {
        self.secrets.contains_key(secret)
    }

    /// Takes a new object. What it changes is worked out by the next update.
    pub(super) fn replace(&mut self, next: model::Gateway) {
        let model::Gateway {
            id: _,
            members,
            preference,
            listeners,
            // What routes take of it is compared below.
            envoys: _,
            ready_port,
            access_log,
            tracing,
            listen_address,
            class_rule,
            watch_namespace,
        } = &next;
        let old = &self.gateway;
        self.pending.members |= *members != old.members || *preference != old.preference;
        self.pending.attachment |=
            *class_rule != old.class_rule || *watch_namespace != old.watch_namespace;
        self.pending.listeners |= *listeners != old.listeners
            || *ready_port != old.ready_port
            || *access_log != old.access_log
            || *tracing != old.tracing
            || *listen_address != old.listen_address;
        let gone = old.listeners.keys().filter(|key| !listeners.contains_key(key)).copied();
        let gone: BTreeSet<_> = gone.collect();
        // What a host is on depends on which there are.
        self.pending.hosts |= !listeners.keys().eq(old.listeners.keys());
        self.pending.fronts |= !fronts(&next).eq(fronts(old));
        self.open = &self.open - &gone;
        self.gone.extend(gone);
        self.gone.retain(|key| !listeners.contains_key(key));
        self.gateway = next;
    }

    fn dialect(&self) -> Dialect {
        Dialect::of(&self.gateway.id)
    }

    /// IngressClasses changed: every attachment must be judged again.
    pub(super) fn reattach(&mut self) {
        self.pending.attachment = true;
    }

    /// What the object's changes make dirty; `ingresses` are all there are.
    pub(super) fn take_dirty<'a>(
        &mut self,
        ingresses: impl Iterator<Item = &'a ObjectName>,
    ) -> Dirty {
        let object = std::mem::take(&mut self.pending);
        let mut dirty = Dirty { object, ..Dirty::default() };
        if dirty.object.attachment {
            dirty.ingresses = ingresses.cloned().collect();
            dirty.ingresses.extend(self.attached.keys().cloned());
        }
        dirty
    }

    /// Runs the stages; the new view, if it differs.
    pub(super) fn update(
        &mut self,
        dirty: Dirty,
        stages: &mut Stages<'_>,
    ) -> Option<Arc<GatewayView>> {
        let mut changed = Changed { listeners: dirty.object.listeners, ..Changed::default() };
        if dirty.object.fronts {
            changed.hosts.extend(self.hosts.keys().cloned());
        }
        let mut hosts = self.attach(&dirty.ingresses, stages);
        if dirty.object.hosts {
            hosts.extend(self.hosts.keys().cloned());
        }
        for secret in &dirty.secrets {
            hosts.extend(self.secrets.get(secret).into_iter().flatten().cloned());
        }
        self.assemble(hosts, stages, &mut changed);
        let mut writes = Vec::new();
        self.arrange(&dirty, stages, &mut changed, &mut writes);
        self.encode(changed, stages, &mut writes);
        self.certify(&dirty.secrets, stages, &mut writes);
        let coverage = self.coverage(stages.store);
        let view = self.view.commit_as(coverage, writes.into_iter().map(Into::into))?;
        let view = Arc::new(view);
        self.view = view.clone();
        Some(view)
    }

    /// What the view knows of the gateway's members. A member that is not registered is a finding,
    /// and not waited for: Envoys do not keep endpoints of a cluster that was taken away.
    fn coverage(&self, store: &Store) -> Coverage {
        let members = || self.gateway.members.iter().filter_map(|id| store.member(id));
        if members().any(Member::is_awaited) {
            Coverage::Awaited
        } else if members().any(Member::is_unread) {
            Coverage::Partial
        } else {
            Coverage::Whole
        }
    }

    /// Judges attachments; the hosts that gained, lost or changed a contributor.
    fn attach(
        &mut self,
        ingresses: &BTreeSet<ObjectName>,
        stages: &mut Stages<'_>,
    ) -> BTreeSet<Host> {
        let mut touched = BTreeSet::new();
        for name in ingresses {
            stages.work.attachments += 1;
            let object = stages.store.ingress(name);
            let served = object.filter(|it| attaches(&self.gateway, it, stages.classes));
            let next = match served {
                Some(object) => {
                    stages.attachments.attach(name, &object.uid, &self.gateway.id);
                    Some((object.created, stages.start_serving(object, &self.gateway.id).hosts()))
                }
                None => {
                    stages.attachments.detach(name, &self.gateway.id);
                    stages.end_serving(name, &self.gateway.id);
                    None
                }
            };
            let old = match &next {
                Some(next) => self.attached.insert(name.clone(), next.clone()),
                None => self.attached.remove(name),
            };
            if let Some((created, hosts)) = &old {
                for host in hosts {
                    self.detach(host, &(*created, name.clone()));
                    touched.insert(host.clone());
                }
            }
            if let Some((created, hosts)) = next {
                for host in hosts {
                    let at = self.contributors.entry(host.clone()).or_default();
                    at.insert((created, name.clone()));
                    touched.insert(host);
                }
            }
        }
        touched
    }

    fn detach(&mut self, host: &Host, contributor: &(i64, ObjectName)) {
        if let Some(contributors) = self.contributors.get_mut(host) {
            contributors.remove(contributor);
            if contributors.is_empty() {
                self.contributors.remove(host);
            }
        }
    }

    /// The gateway is deleted: its findings go, and its Services are no longer used for it.
    pub(super) fn withdraw(&self, stages: &mut Stages<'_>) {
        for ingress in self.attached.keys() {
            stages.attachments.detach(ingress, &self.gateway.id);
            stages.end_serving(ingress, &self.gateway.id);
        }
        let gateway = &self.gateway.id;
        for host in self.hosts.keys() {
            stages.findings.set(Row::Host(gateway.clone(), host.clone()), Vec::new());
        }
        self.targets.withdraw(gateway, stages);
        *stages.references_moved = true;
    }
}

/// What routes take from the listeners of a gateway.
fn fronts(gateway: &model::Gateway) -> impl Iterator<Item = (ListenerKey, model::Front)> {
    gateway.listeners.iter().map(|(key, listener)| (*key, gateway.front(listener)))
}

impl Stages<'_> {
    /// What the Ingress says to gateways of this kind.
    fn start_serving(&mut self, object: &store::Ingress, gateway: &GatewayId) -> Arc<IngressRow> {
        let (findings, work) = (&mut *self.findings, &mut *self.work);
        let dialect = Dialect::of(gateway);
        self.ingresses.start_use(&object.name, gateway, || {
            work.ingresses += 1;
            let (row, diags) = crate::ingress::parse(object, dialect, &self.settings.defaults);
            findings.set(Row::Ingress(object.name.clone(), dialect), diags);
            row
        })
    }

    /// What is wrong with an Ingress that nobody serves is nobody's concern.
    fn end_serving(&mut self, ingress: &ObjectName, gateway: &GatewayId) {
        if self.ingresses.end_use(ingress, gateway) {
            self.findings.set(Row::Ingress(ingress.clone(), Dialect::of(gateway)), Vec::new());
        }
    }
}
