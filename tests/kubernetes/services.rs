//! What deployed gateways rely on: Services of a cluster forward, have load balancers and names.

use std::{fs, net::Ipv4Addr, os::unix::fs::MetadataExt, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    bed::{
        client::{Client, get},
        fleet::NAMESPACE,
        poll::eventually,
    },
    clusters::{World, cluster::Cluster},
    harness::scenario,
    scene::Scene,
};

scenario! { "services", &[], fleet: Machines;
    services_reach_the_api_server,
    services_choose_endpoints_as_kube_proxy_does,
    services_keep_connections_of_endpoints_that_leave,
    services_pass_on_half_closes_and_resets,
    services_have_load_balancers_and_node_ports,
    services_have_names,
}

/// A watch takes milliseconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Of the Service that the steps use; it has no selector, so its EndpointSlice is what they say.
const SERVICE: &str = "web";

/// Two endpoints of the test's own, each of which says its name to everyone, and then what it hears.
const ENDPOINTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 100, 130, 1), Ipv4Addr::new(10, 100, 130, 2)];

const PORT: u16 = 8080;

/// What an EndpointSlice says of an endpoint.
#[derive(Clone, Copy)]
enum Is {
    Ready,
    Unready,
    /// Deleted, and serves to the end.
    Ending,
    /// Not there.
    Gone,
}

/// Applies the Service's EndpointSlice.
fn set(fleet: &Cluster, states: [Is; 2]) {
    let conditions = |is: Is| match is {
        Is::Ready => Some([true, true, false]),
        Is::Unready => Some([false, false, false]),
        Is::Ending => Some([false, true, true]),
        Is::Gone => None,
    };
    let endpoints = ENDPOINTS.iter().zip(states).filter_map(|(address, is)| {
        let [ready, serving, terminating] = conditions(is)?;
        let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
        let node = format!("c100-node-{}", address.octets()[3]);
        Some(json!({"addresses": [address], "conditions": conditions, "nodeName": node}))
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": SERVICE},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": PORT}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    });
    fleet.apply(&slice.to_string(), "");
}

fn service(fleet: &Cluster) -> Value {
    let words = format!("get service {SERVICE} -n {NAMESPACE} -ojson");
    serde_json::from_str(&fleet.kubectl(&words)).unwrap()
}

fn address(value: &Value) -> Ipv4Addr {
    value.as_str().unwrap_or_default().parse().unwrap()
}

fn cluster_address(world: &World) -> Ipv4Addr {
    address(&service(&world.fleet)["spec"]["clusterIP"])
}

/// Says its number to everyone, and repeats what it hears until the other says no more; then it ends
/// with `bye`, or with a reset if the last it heard was `!`.
async fn serve(address: Ipv4Addr) {
    let listener = TcpListener::bind((address, PORT)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0];
                client.write_all(&[b'0' + address.octets()[3]]).await?;
                while client.read(&mut heard).await? == 1 {
                    if heard == *b"!" {
                        return client.set_zero_linger();
                    }
                    client.write_all(&heard).await?;
                }
                client.write_all(b"bye").await
            });
        }
    });
}

/// A connection, with the number of who answered.
async fn connect(to: (Ipv4Addr, u16)) -> Result<(TcpStream, u8), String> {
    let mut stream = TcpStream::connect(to).await.map_err(|e| e.kind().to_string())?;
    let number = stream.read_u8().await.map_err(|e| e.kind().to_string())?;
    Ok((stream, number - b'0'))
}

/// Who answers four connections, or how the first fails.
async fn answers(to: (Ipv4Addr, u16)) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(connect(to).await?.1);
    }
    all.sort_unstable();
    Ok(all)
}

async fn settles(to: (Ipv4Addr, u16), expect: &Result<Vec<u8>, String>) {
    eventually(PATIENCE, &format!("{to:?} answers {expect:?}"), || async {
        let now = answers(to).await;
        if now == *expect { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}

fn refused() -> Result<Vec<u8>, String> {
    Err("connection refused".to_owned())
}

async fn services_reach_the_api_server(Scene { world, .. }: &mut Scene) {
    let server = format!("--server=https://{}", world.fleet.service_address());
    eventually(PATIENCE, "the API server answers at its Service", || async {
        world.fleet.try_kubectl(&format!("{server} get --raw /readyz"), "")
    })
    .await;
}

async fn services_choose_endpoints_as_kube_proxy_does(Scene { world, .. }: &mut Scene) {
    let fleet = &world.fleet;
    for address in ENDPOINTS {
        serve(address).await;
    }
    let port = json!({"name": "http", "port": 80, "targetPort": PORT});
    let web = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"ports": [port]},
    });
    fleet.apply(&web.to_string(), "");
    let to = (cluster_address(world), 80);
    assert_eq!(answers(to).await, refused());
    for (states, expect) in [
        ([Is::Ready, Is::Ready], Ok(vec![1, 1, 2, 2])),
        ([Is::Unready, Is::Ready], Ok(vec![2, 2, 2, 2])),
        ([Is::Ready, Is::Ending], Ok(vec![1, 1, 1, 1])),
        ([Is::Unready, Is::Ending], Ok(vec![2, 2, 2, 2])),
        ([Is::Unready, Is::Unready], refused()),
        ([Is::Ready, Is::Gone], Ok(vec![1, 1, 1, 1])),
        ([Is::Gone, Is::Gone], refused()),
    ] {
        set(fleet, states);
        settles(to, &expect).await;
    }
}

async fn services_keep_connections_of_endpoints_that_leave(Scene { world, .. }: &mut Scene) {
    let to = (cluster_address(world), 80);
    set(&world.fleet, [Is::Ready, Is::Gone]);
    settles(to, &Ok(vec![1, 1, 1, 1])).await;
    let (mut kept, _) = connect(to).await.unwrap();
    set(&world.fleet, [Is::Gone, Is::Ready]);
    settles(to, &Ok(vec![2, 2, 2, 2])).await;
    set(&world.fleet, [Is::Gone, Is::Gone]);
    settles(to, &refused()).await;
    kept.write_u8(b'x').await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'x');
}

async fn services_pass_on_half_closes_and_resets(Scene { world, .. }: &mut Scene) {
    let to = (cluster_address(world), 80);
    set(&world.fleet, [Is::Ready, Is::Ready]);
    settles(to, &Ok(vec![1, 1, 2, 2])).await;
    let (mut closing, _) = connect(to).await.unwrap();
    closing.shutdown().await.unwrap();
    let mut rest = String::new();
    closing.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye");
    let (mut reset, _) = connect(to).await.unwrap();
    reset.write_u8(b'!').await.unwrap();
    let error = reset.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn services_have_load_balancers_and_node_ports(Scene { world, .. }: &mut Scene) {
    let fleet = &world.fleet;
    let patch = |spec: &str| {
        let words = format!("patch service {SERVICE} -n {NAMESPACE} -p {{\"spec\":{spec}}}");
        fleet.kubectl(&words)
    };
    patch(r#"{"type":"LoadBalancer"}"#);
    let at = eventually(PATIENCE, "the load balancer has an address", || async {
        let status = &service(fleet)["status"]["loadBalancer"];
        let ip = status["ingress"][0]["ip"].as_str().map(|it| it.parse().unwrap());
        ip.ok_or_else(|| status.to_string())
    })
    .await;
    assert_eq!(at, Ipv4Addr::new(10, 0, 1, 1));
    settles((at, 80), &Ok(vec![1, 1, 2, 2])).await;
    let node_port = service(fleet)["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    let node = |n| (Ipv4Addr::new(10, 100, 2, n), u16::try_from(node_port).unwrap());
    settles(node(2), &Ok(vec![1, 1, 2, 2])).await;
    patch(r#"{"externalTrafficPolicy":"Local"}"#);
    settles(node(1), &Ok(vec![1, 1, 1, 1])).await;
    settles(node(2), &Ok(vec![2, 2, 2, 2])).await;
    settles((at, 80), &Ok(vec![1, 1, 2, 2])).await;
}

async fn services_have_names(Scene { world, .. }: &mut Scene) {
    let (fleet, at) = (&world.fleet, cluster_address(world));
    let line = |address: Ipv4Addr, name: &str| {
        let name = format!("{name}.{NAMESPACE}");
        format!("{address} {name} {name}.svc {name}.svc.cluster.local\n")
    };
    let inode = || fs::metadata(fleet.hosts()).unwrap().ino();
    let shows = async |expect: &[(&str, bool)]| {
        eventually(PATIENCE, "the names are there", || async {
            let text = fs::read_to_string(fleet.hosts()).unwrap();
            let holds = expect.iter().all(|(line, is_there)| text.contains(line) == *is_there);
            if holds { Ok(()) } else { Err(text) }
        })
        .await;
    };
    let (first, web) = (inode(), line(at, SERVICE));
    let api = format!("{} kubernetes.default ", fleet.service_address());
    shows(&[("127.0.0.1 localhost\n", true), (&api, true), (&web, true)]).await;
    fleet.kubectl(&format!("delete service {SERVICE} -n {NAMESPACE}"));
    shows(&[(&api, true), (&web, false)]).await;
    assert_eq!(inode(), first, "it is mounted");
    let refusal = Client::plain((at, 80).into()).send(&get("/")).await.unwrap_err();
    assert!(refusal.starts_with("connect: "), "{refusal}");
}
