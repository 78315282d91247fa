//! The inspection service: the answers of `convoy status`.
//!
//! Owns how the read model is said in proto messages. Every list is in a stable order.

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};

use crate::{
    admin::{
        MemberReport, MemberState, State, Trouble,
        proto::{self, inspection_server::Inspection},
    },
    diag::{Diag, Severity},
    key::{GatewayId, MemberId, Scope},
    resources::print,
    snapshot::{GatewayView, Kind, Resource},
};

/// Answers from the state of the moment.
pub(super) struct Inspector {
    state: State,
}

impl Inspector {
    pub(super) fn new(state: State) -> Inspector {
        Inspector { state }
    }
}

#[tonic::async_trait]
impl Inspection for Inspector {
    async fn list_gateways(
        &self,
        _: Request<proto::ListGatewaysRequest>,
    ) -> Result<Response<proto::ListGatewaysResponse>, Status> {
        let declared = self.state.report.borrow().gateways.clone();
        let views = self.state.publisher.current();
        let envoys = self.state.envoys.connected();
        let gateway = |(id, members): (&GatewayId, &Vec<_>)| {
            let view = views.get(id).map(|view| &**view);
            let connected = envoys
                .iter()
                .filter(|envoy| GatewayId::find([id].into_iter(), &envoy.gateway).is_some());
            proto::Gateway {
                id: id.to_string(),
                revision: view.map_or(0, |view| view.revision),
                members: members.iter().map(ToString::to_string).collect(),
                resources: view.map(counts).unwrap_or_default(),
                envoys: connected.count() as u64,
            }
        };
        let gateways = declared.iter().map(gateway).collect();
        Ok(Response::new(proto::ListGatewaysResponse { gateways }))
    }

    async fn list_members(
        &self,
        _: Request<proto::ListMembersRequest>,
    ) -> Result<Response<proto::ListMembersResponse>, Status> {
        let report = self.state.report.borrow().clone();
        let traffic = self.state.traffic.read();
        let contact =
            |id: &MemberId| Some(traffic.get(&Scope::Member(id.clone()))?.contact_age()?.as_secs());
        let members = report.members.iter().map(|(id, row)| member(id, row, contact(id)));
        let since = report.fleet.trouble_since.map(|since| since.elapsed().as_secs());
        let fleet_trouble = report.fleet.trouble.as_ref().map(|own| trouble(own, since));
        Ok(Response::new(proto::ListMembersResponse { members: members.collect(), fleet_trouble }))
    }

    async fn list_resources(
        &self,
        request: Request<proto::ListResourcesRequest>,
    ) -> Result<Response<proto::ListResourcesResponse>, Status> {
        let proto::ListResourcesRequest { gateway, include_content } = request.into_inner();
        let views = self.state.publisher.current();
        let view = GatewayId::find(views.keys(), &gateway)
            .and_then(|id| views.get(id))
            .ok_or_else(|| Status::not_found(no_gateway(&gateway, views.keys())))?;
        let resources = Kind::ALL.into_iter().flat_map(|kind| view.table(kind).iter());
        let resources = resources.map(|resource| described(resource, include_content));
        Ok(Response::new(proto::ListResourcesResponse {
            resources: resources.collect::<Result<_, _>>()?,
        }))
    }

    async fn list_envoys(
        &self,
        _: Request<proto::ListEnvoysRequest>,
    ) -> Result<Response<proto::ListEnvoysResponse>, Status> {
        Ok(Response::new(proto::ListEnvoysResponse { envoys: self.state.envoys.connected() }))
    }

    async fn list_diagnostics(
        &self,
        _: Request<proto::ListDiagnosticsRequest>,
    ) -> Result<Response<proto::ListDiagnosticsResponse>, Status> {
        let diags = self.state.report.borrow().diags.clone();
        let diagnostics = diags.iter().map(diagnostic).collect();
        Ok(Response::new(proto::ListDiagnosticsResponse { diagnostics }))
    }
}

fn member(id: &MemberId, row: &MemberReport, contact: Option<u64>) -> proto::Member {
    let MemberReport {
        state,
        synced: _,
        services,
        endpoints,
        region,
        zone,
        nodes: _,
        shared_addresses: _,
    } = row;
    let state = match state {
        MemberState::Connecting => proto::MemberState::Connecting,
        MemberState::Syncing => proto::MemberState::Syncing,
        MemberState::Live => proto::MemberState::Live,
        MemberState::Stale(_) => proto::MemberState::Stale,
    };
    proto::Member {
        id: id.to_string(),
        state: state.into(),
        services: *services,
        endpoints: *endpoints,
        trouble: row.trouble().map(|own| trouble(own, None)),
        seconds_since_contact: contact,
        region: region.clone(),
        zone: zone.clone(),
    }
}

fn trouble(trouble: &Trouble, seconds: Option<u64>) -> proto::Trouble {
    let Trouble { reason, message } = trouble;
    proto::Trouble { reason: (*reason).to_owned(), message: message.clone(), seconds }
}

/// What to say about a gateway that is not there, or not there alone.
pub(crate) fn no_gateway<'a>(name: &str, known: impl Iterator<Item = &'a GatewayId>) -> String {
    let known: Vec<_> = known.map(ToString::to_string).collect();
    match known.is_empty() {
        true => format!("no gateway `{name}`: there is none at all"),
        false => format!("no gateway `{name}`, or several; there is {}", known.join(", ")),
    }
}

fn described(resource: &Resource, include_content: bool) -> Result<proto::Resource, Status> {
    let content = match include_content {
        true => print::json(resource).map_err(|err| Status::internal(err.to_string()))?.to_string(),
        false => String::new(),
    };
    Ok(proto::Resource {
        r#type: resource.kind.to_string(),
        name: resource.name.to_string(),
        version: resource.version.to_string(),
        content,
    })
}

fn counts(view: &GatewayView) -> BTreeMap<String, u64> {
    let count = |kind: Kind| (kind.to_string(), view.table(kind).len() as u64);
    Kind::ALL.into_iter().map(count).collect()
}

fn diagnostic(diag: &Diag) -> proto::Diagnostic {
    let Diag { object, field, severity, reason, message } = diag;
    proto::Diagnostic {
        cluster: match &object.scope {
            Scope::Fleet => "fleet".to_owned(),
            Scope::Member(id) => id.to_string(),
        },
        kind: object.kind.to_string(),
        namespace: object.name.namespace.to_string(),
        name: object.name.name.to_string(),
        field: field.clone(),
        severity: match severity {
            Severity::Warning => "warning".to_owned(),
            Severity::Error => "error".to_owned(),
        },
        reason: reason.to_string(),
        message: message.clone(),
    }
}
