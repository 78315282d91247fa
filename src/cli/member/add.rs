//! `convoy member add`.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, Config, api::PostParams};
use serde_json::Value;

use crate::{
    cli::member::{FleetFlags, account, apply, secret},
    key::MemberId,
    source::{
        decode::write_pem,
        kube::config,
        rbac::MEMBER_ACCOUNT,
        registry::{DEFAULT_NAMESPACES, Network, check_kubeconfig},
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
    /// Id of the cluster, as `mse.alibabacloud.com/remote-clusters` names it
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
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    fleet: FleetFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NetworkName {
    Underlay,
    Overlay,
}

fn member_id(text: &str) -> Result<MemberId, String> {
    MemberId::new(text).ok_or_else(|| "an id is made of letters, digits and `._-`".to_owned())
}

pub(super) async fn run(args: &Args, out: &mut impl Write) -> Result<()> {
    let member = config(Some(args.kubeconfig.as_path()), args.context.as_deref()).await;
    let member = member.with_context(|| format!("read {}", args.kubeconfig.display()))?;
    let network = match args.network {
        NetworkName::Underlay => Network::Underlay,
        NetworkName::Overlay => Network::Overlay,
    };
    let account = account::manifests(&args.namespace, network);
    if args.dry_run {
        writeln!(out, "# In cluster {}:", args.id)?;
        for (_, manifest) in &account {
            print(manifest, out)?;
        }
        writeln!(out, "# In the fleet:")?;
        return print(&declaration(args, network, &member, NO_TOKEN)?, out);
    }

    // What cannot be declared later is found out before anything is written.
    declaration(args, network, &member, NO_TOKEN)?;
    let fleet = args.fleet.client().await?;
    let client = Client::try_from(member.clone()).context("set up a client of the cluster")?;
    for (plural, manifest) in &account {
        apply(&client, plural, manifest)
            .await
            .with_context(|| format!("in cluster {}", args.id))?;
    }
    let (token, until) = token(&client, &args.namespace).await?;
    let secret = declaration(args, network, &member, &token)?;
    apply(&fleet, "secrets", &secret).await.context("in the fleet")?;

    let Args { id, namespace, .. } = args;
    writeln!(out, "account {namespace}/{MEMBER_ACCOUNT} in cluster {id}")?;
    writeln!(out, "Secret {namespace}/{} in the fleet", secret::name(id))?;
    writeln!(out, "the token is good until {until}; run this again before then")?;
    writeln!(
        out,
        "a gateway uses the cluster when mse.alibabacloud.com/remote-clusters names {id}"
    )?;
    Ok(())
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
fn declaration(args: &Args, network: Network, member: &Config, token: &str) -> Result<Value> {
    let Some(authorities) = &member.root_cert else {
        bail!("the kubeconfig of the cluster has no CA, and Convoy trusts no other");
    };
    let mut ca = String::new();
    authorities.iter().for_each(|der| write_pem(&mut ca, "CERTIFICATE", der));
    let server = args.server.clone().unwrap_or_else(|| member.cluster_url.to_string());
    let kubeconfig = secret::kubeconfig(&server, member.tls_server_name.as_deref(), &ca, token);
    let kubeconfig = yaml(&kubeconfig)?;
    check_kubeconfig(kubeconfig.as_bytes()).context("Convoy would refuse the kubeconfig")?;
    let description = secret::Description {
        namespace: &args.namespace,
        id: &args.id,
        region: args.region.as_deref(),
        zone: args.zone.as_deref(),
        network,
    };
    Ok(secret::manifest(&description, &kubeconfig))
}

fn print(manifest: &Value, out: &mut impl Write) -> Result<()> {
    write!(out, "---\n{}", yaml(manifest)?)?;
    Ok(())
}

fn yaml(value: &Value) -> Result<String> {
    serde_saphyr::to_string(value).context("print YAML")
}
