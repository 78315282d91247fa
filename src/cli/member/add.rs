//! `convoy member add`.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, Secret, ServiceAccount},
};
use kube::{Api, Client, Config, ResourceExt as _, api::PostParams};

use crate::{
    cli::{
        flags::NetworkName,
        member::{FleetFlags, Mode, apply, is_not_found, secret},
        yaml,
    },
    key::MemberId,
    rbac::{Account, MEMBER_ACCOUNT, Manifest, manifests, member_roles},
    source::{
        decode::write_pem,
        kube::config,
        registry::{CLUSTER_UID, DEFAULT_NAMESPACES, check_kubeconfig},
    },
};

/// What stands for the token where nothing is written.
const NO_TOKEN: &str = "TOKEN-OF-THE-SERVICE-ACCOUNT";

/// A year. The API server may grant less; until then `convoy member add` has to be run again.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;

/// Make an account for Convoy in a cluster, and declare the cluster in the fleet
///
/// The account may read Services, EndpointSlices, Pods and, for an overlay member, Nodes, and
/// nothing else. Run it again to renew the token or to change what is said about the cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of the cluster, as the annotation `remote-clusters` of a gateway names it
    #[arg(long, value_parser = member_id)]
    id: MemberId,
    /// Kubeconfig of the cluster, of somebody who may create the account
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Context of the cluster in its kubeconfig; without it, the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Where the fleet reaches the API of the cluster, if not where the kubeconfig says
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Region of the cluster
    #[arg(long)]
    region: Option<String>,
    /// Zone of the cluster
    #[arg(long)]
    zone: Option<String>,
    /// How Envoys reach the Pods of the cluster
    #[arg(long, value_name = "NETWORK", default_value = "underlay")]
    network: NetworkName,
    /// Namespace of the account in the cluster, and of the Secret in the fleet
    #[arg(long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACES[0])]
    namespace: String,
    /// Print what would be written, and ask no cluster: so without the token and without the UID
    /// of the cluster
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    fleet: FleetFlags,
}

fn member_id(text: &str) -> Result<MemberId, String> {
    MemberId::new(text).ok_or_else(|| "an id is made of letters, digits and `._-`".to_owned())
}

pub(super) async fn run(args: &Args, out: &mut impl Write) -> Result<()> {
    let member = config(Some(args.kubeconfig.as_path()), args.context.as_deref()).await;
    let member = member.with_context(|| format!("read {}", args.kubeconfig.display()))?;
    let roles = member_roles(&args.namespace, args.network.into());
    let account = manifests(&Account {
        name: MEMBER_ACCOUNT,
        namespace: &args.namespace,
        component: "member",
        roles: &roles,
    });
    // What cannot be declared later is found out before anything is asked or written.
    let declared = |token: &str, uid: Option<&str>| declaration(args, &member, token, uid);
    let rehearsal = declared(NO_TOKEN, None)?;
    if args.dry_run {
        writeln!(out, "# In cluster {}:", args.id)?;
        account.iter().try_for_each(|manifest| yaml::print(&manifest.object, out))?;
        writeln!(out, "# In the fleet:")?;
        return yaml::print(&rehearsal.object, out);
    }

    let fleet = args.fleet.client().await?;
    let cluster = Client::try_from(member.clone()).context("set up a client of the cluster")?;
    let in_cluster = || format!("in cluster {}", args.id);
    let uid = uid(&cluster).await.with_context(in_cluster)?;
    // Who may not write to the fleet learns it before anything is written in the cluster.
    accept(&fleet, args, &rehearsal, &uid).await.context("in the fleet")?;
    for manifest in &account {
        apply(&cluster, manifest, Mode::Write).await.with_context(in_cluster)?;
    }
    let (token, until) = token(&cluster, &args.namespace).await?;
    let secret = declared(&token, Some(&uid))?;
    apply(&fleet, &secret, Mode::Write).await.context("in the fleet")?;

    let Args { id, namespace, .. } = args;
    writeln!(out, "account {namespace}/{MEMBER_ACCOUNT} in cluster {id}")?;
    writeln!(out, "Secret {namespace}/{} in the fleet", secret::name(id))?;
    writeln!(out, "the token is good until {until}; run this again before then")?;
    writeln!(out, "a gateway uses the cluster when its annotation remote-clusters names {id}")?;
    Ok(())
}

/// The UID of the cluster's `kube-system`, which is the identity of the cluster.
async fn uid(cluster: &Client) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(cluster.clone());
    let found =
        namespaces.get_metadata("kube-system").await.context("get Namespace kube-system")?;
    found.uid().context("Namespace kube-system has no UID")
}

/// Finds out whether the fleet takes the declaration, and makes its namespace if there is none.
async fn accept(fleet: &Client, args: &Args, rehearsal: &Manifest, uid: &str) -> Result<()> {
    let Args { id, namespace, .. } = args;
    let name = secret::name(id);
    let secrets: Api<Secret> = Api::namespaced(fleet.clone(), namespace);
    let found = secrets.get_opt(&name).await.with_context(|| format!("get Secret {name}"))?;
    let pinned = found.as_ref().and_then(|own| own.annotations().get(CLUSTER_UID));
    if pinned.is_some_and(|own| own != uid) {
        bail!(
            "Secret {namespace}/{name} declares {id} as another cluster than this one; if this \
             one is to take its place, first run `convoy member remove --id {id}`"
        );
    }
    match apply(fleet, rehearsal, Mode::Rehearse).await {
        Err(error) if is_not_found(&error) => {
            apply(fleet, &secret::namespace(namespace), Mode::Write).await?;
            apply(fleet, rehearsal, Mode::Rehearse).await
        }
        other => other,
    }
}

/// A token for the account, and until when it is good.
async fn token(client: &Client, namespace: &str) -> Result<(String, String)> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec =
        TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let params = PostParams::default();
    let answer = accounts.create_token_request(MEMBER_ACCOUNT, &params, &request).await;
    let status = answer.context("ask the cluster for a token")?.status.unwrap_or_default();
    let token = status.token.context("the cluster granted no token")?;
    let until = status.expiration_timestamp.context("the cluster granted a token for ever")?;
    Ok((token, until.0.to_string()))
}

/// The Secret for the fleet. It is refused here if Convoy would refuse it there.
fn declaration(args: &Args, member: &Config, token: &str, uid: Option<&str>) -> Result<Manifest> {
    let Some(authorities) = &member.root_cert else {
        bail!("the kubeconfig of the cluster has no CA, and Convoy trusts no other");
    };
    let mut ca = String::new();
    authorities.iter().for_each(|der| write_pem(&mut ca, "CERTIFICATE", der));
    let server = args.server.clone().unwrap_or_else(|| member.cluster_url.to_string());
    let kubeconfig = secret::kubeconfig(&server, member.tls_server_name.as_deref(), &ca, token);
    let kubeconfig = yaml::text(&kubeconfig)?;
    check_kubeconfig(kubeconfig.as_bytes()).context("Convoy would refuse the kubeconfig")?;
    let description = secret::Description {
        namespace: &args.namespace,
        id: &args.id,
        uid,
        region: args.region.as_deref(),
        zone: args.zone.as_deref(),
        network: args.network.into(),
    };
    Ok(secret::manifest(&description, &kubeconfig))
}
