//! Pods that see only what they are given: networks, volumes, probes and ends of the bed, as a kubelet
//! has them.

use std::{
    fs,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    bed::{fleet::NAMESPACE, poll::eventually},
    clusters::{World, pod::Order},
    harness::{figure, scenario},
    pods::answer,
    scene::Scene,
};

scenario! { "isolated", &[], fleet: Machines;
    bed_pods_have_networks_of_their_own,
    bed_pods_see_what_they_ask_for,
    bed_pods_run_as_whom_they_ask,
    bed_updates_volumes_in_place,
    bed_renews_tokens,
    bed_pods_are_ready_when_probes_say_so,
    bed_restarts_what_ends_and_what_is_ill,
    bed_runs_init_containers_in_order,
    bed_takes_orders_for_isolated_pods,
    bed_ends_pods_with_grace,
    bed_runs_an_envoy,
    bed_runs_a_convoy,
}

/// Far above what anything here takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Runs until it is told to end, and says so.
const WAIT: &str = "trap 'echo told to end; exit 0' TERM; echo up; while :; do sleep 0.1; done";

/// A pod with one container `main` of the image `shell`, and what else the container and the pod have.
fn shell(name: &str, script: &str, container: Value, spec: Value) -> Value {
    let mut main =
        json!({"name": "main", "image": "example.com/bed/shell:1", "args": ["-c", script]});
    extend(&mut main, container);
    let mut pod = json!({"terminationGracePeriodSeconds": 1, "containers": [main]});
    extend(&mut pod, spec);
    named(name, pod)
}

fn named(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

fn extend(object: &mut Value, more: Value) {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}

fn create(world: &World, objects: &[Value]) {
    for object in objects {
        world.fleet.apply(&object.to_string(), &format!("-n {NAMESPACE}"));
    }
}

fn status(world: &World, pod: &str) -> Result<Value, String> {
    let words = format!("get pod {pod} -n {NAMESPACE} -ojson");
    let mut pod: Value = serde_json::from_str(&world.fleet.try_kubectl(&words, "")?).unwrap();
    Ok(pod["status"].take())
}

/// Waits until something can be found in the status of a pod.
async fn status_until<T>(world: &World, pod: &str, find: impl Fn(&Value) -> Option<T>) -> T {
    eventually(PATIENCE, &format!("the status of {pod} says so"), || async {
        let status = status(world, pod)?;
        find(&status).ok_or_else(|| status.to_string())
    })
    .await
}

/// Waits until a pod is ready, or is not; returns its address.
async fn ready(world: &World, pod: &str, wanted: bool) -> Ipv4Addr {
    status_until(world, pod, |status| {
        let conditions = status["conditions"].as_array()?;
        let ready = conditions.iter().find(|it| it["type"] == "Ready")?;
        let is_so = ready["status"] == if wanted { "True" } else { "False" };
        is_so.then(|| status["podIP"].as_str()?.parse().ok()).flatten()
    })
    .await
}

/// Waits until a container has printed something.
async fn printed(world: &World, pod: &str, container: &str, line: &str) -> String {
    eventually(PATIENCE, &format!("{pod} prints {line}"), || async {
        let output = world.fleet_kubelet().output(NAMESPACE, pod, container);
        if output.lines().any(|it| it == line) { Ok(output) } else { Err(output) }
    })
    .await
}

async fn exec(world: &World, pod: &str, script: &str) -> Result<String, String> {
    world.fleet_kubelet().exec((NAMESPACE, pod, "main"), &["/bin/sh", "-c", script]).await
}

async fn is_gone(world: &World, pod: &str) {
    eventually(PATIENCE, "the pod is gone", || async {
        match status(world, pod) {
            Err(said) if said.contains("NotFound") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

fn delete(world: &World, pod: &str) {
    world.fleet.kubectl(&format!("delete pod {pod} -n {NAMESPACE} --wait=false"));
}

async fn bed_pods_have_networks_of_their_own(Scene { world, .. }: &mut Scene) {
    let start = Instant::now();
    let echo = |name: &str| {
        let pod = format!("--pod={name}=0.0.0.0:8080");
        let args = json!(["echo", format!("--env={name}"), "--cluster=fleet", "--svc=echo", pod]);
        named(name, json!({"containers": [{"name": "main", "image": "convoy:1", "args": args}]}))
    };
    create(world, &[echo("one"), echo("two")]);
    let [one, two] = [ready(world, "one", true).await, ready(world, "two", true).await];
    figure(&format!("2 isolated pods ready {:?} after kubectl apply", start.elapsed()));
    assert_eq!(one.octets()[..3], [10, 100, 1]);
    assert_ne!(one, two);
    let answered = |address| eventually(PATIENCE, "the pod listens", move || answer(address));
    assert_eq!((answered(one).await.as_str(), answered(two).await.as_str()), ("one", "two"));
    // From pod to pod, to itself, and to an API server.
    let own = world.fleet_kubelet();
    assert_eq!(own.address(NAMESPACE, "one"), Some(one));
    let api = world.fleet.server();
    let (host, port) = api.trim_start_matches("https://").split_once(':').unwrap();
    for (host, port) in
        [(two.to_string().as_str(), "8080"), (&one.to_string(), "8080"), (host, port)]
    {
        let connect = format!("exec 3<>/dev/tcp/{host}/{port}");
        let tried = own.exec((NAMESPACE, "one", "main"), &["/bin/bash", "-c", &connect]).await;
        assert_eq!(tried.as_deref(), Ok(""), "{connect}");
    }
    let nobody = ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8081"];
    own.exec((NAMESPACE, "one", "main"), &nobody).await.unwrap_err();
}

async fn bed_pods_see_what_they_ask_for(Scene { world, .. }: &mut Scene) {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let script = "echo pod=$POD in=$IN at=$AT on=$ON as=$AS cpu=$CPU mem=$MEM key=$KEY $0 $1
        echo api=$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT
        cat /map/deep/text; cat /secret/key; cat /one; stat -Lc %a /secret/key
        cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo
        head -1 /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
        echo shared >/scratch/file; cat /scratch/file
        touch /file || echo read-only
        grep localhost /etc/hosts
        grep CapEff /proc/self/status
        echo done; sleep 1000";
    let pod = shell(
        "sees",
        script,
        json!({
            "args": ["-c", script, "$(GREETING)", "$$(GREETING)"],
            "env": [
                {"name": "WHOM", "value": "world"},
                {"name": "GREETING", "value": "hello-$(WHOM)"},
                field("POD", "metadata.name"), field("IN", "metadata.namespace"),
                field("AT", "status.podIP"), field("ON", "spec.nodeName"),
                field("AS", "spec.serviceAccountName"),
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "sees", "key": "key"}}},
            ],
            "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
            "securityContext": {"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [
                {"name": "map", "mountPath": "/map"}, {"name": "secret", "mountPath": "/secret"},
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "map", "mountPath": "/one", "subPath": "deep/text"},
            ],
        }),
        json!({"volumes": [
            {"name": "map", "configMap":
                {"name": "sees", "items": [{"key": "text", "path": "deep/text"}]}},
            {"name": "secret", "secret": {"secretName": "sees", "defaultMode": 0o400}},
            {"name": "scratch", "emptyDir": {"medium": "Memory"}},
        ]}),
    );
    create(world, &[pod]);
    // What is not there yet is waited for.
    status_until(world, "sees", |status| {
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        (waiting["reason"] == "ContainerCreating"
            && waiting["message"].to_string().contains("sees"))
        .then_some(())
    })
    .await;
    world
        .fleet
        .kubectl(&format!("create configmap sees --from-literal=text=of-map\n -n {NAMESPACE}"));
    let secret = "create secret generic sees --from-literal=key=of-secret";
    world.fleet.kubectl(&format!("{secret} -n {NAMESPACE}"));
    let output = printed(world, "sees", "main", "done").await;
    let own = world.fleet_kubelet();
    let at = own.address(NAMESPACE, "sees").unwrap();
    let words = format!("get pod sees -n {NAMESPACE} -ojsonpath={{.spec.nodeName}}");
    let on = world.fleet.kubectl(&words);
    let api = world.fleet.service_address();
    for expected in [
        &format!(
            "pod=sees in={NAMESPACE} at={at} on={on} as=default cpu=2 mem=67108864 key=of-secret \
             hello-world $(GREETING)"
        ),
        &format!("api={api}:443"),
        "of-mapof-secretof-map400",
        NAMESPACE,
        "-----BEGIN CERTIFICATE-----",
        "shared",
        "read-only",
        "127.0.0.1 localhost",
        "CapEff:\t0000000000000000",
    ] {
        assert!(output.lines().any(|line| line == expected), "{expected} is not in\n{output}");
    }
    // Nothing of it is left on the machine.
    assert!(!fs::exists("/scratch").unwrap() && !fs::exists("/map").unwrap());
}

async fn bed_pods_run_as_whom_they_ask(Scene { world, .. }: &mut Scene) {
    let of_pod = json!({"runAsNonRoot": true, "fsGroup": 2000});
    let user = |user: Value| {
        let mounts = json!([{"name": "secret", "mountPath": "/secret"},
                            {"name": "scratch", "mountPath": "/scratch"}]);
        json!({"securityContext": user, "volumeMounts": mounts})
    };
    let spec = json!({"securityContext": of_pod, "volumes": [
        {"name": "secret", "secret": {"secretName": "whom", "defaultMode": 0o400}},
        {"name": "scratch", "emptyDir": {}},
    ]});
    let script = "id -u; cat /secret/key; touch /scratch/mine && echo; touch /etc/hosts || echo no; \
                  echo done; sleep 1000";
    create(
        world,
        &[
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "whom"},
               "stringData": {"key": "read"}}),
            shell("root", script, user(json!({})), spec.clone()),
            shell("whom", script, user(json!({"runAsUser": 1000})), spec),
        ],
    );
    let why = status_until(world, "root", |status| {
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        (waiting["reason"] == "CreateContainerConfigError").then(|| waiting["message"].clone())
    });
    assert_eq!(why.await, "container has runAsNonRoot and image will run as root");
    let output = printed(world, "whom", "main", "done").await;
    // In a user namespace of an ordinary user there is nobody else that it could be.
    let has_users = fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295");
    let (id, hosts) = if has_users { ("1000", "no") } else { ("0", "done") };
    assert!(output.starts_with(&format!("{id}\nread\n")), "{output}");
    assert!(output.lines().any(|line| line == hosts), "{output}");
}

async fn bed_updates_volumes_in_place(Scene { world, .. }: &mut Scene) {
    let secret = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "changes"},
               "stringData": {"key": value, value: ""}})
    };
    let mounts = json!({"volumeMounts": [{"name": "it", "mountPath": "/it"}]});
    let volumes = json!({"volumes": [{"name": "it", "secret": {"secretName": "changes"}}]});
    create(world, &[secret("old"), shell("changes", WAIT, mounts, volumes)]);
    ready(world, "changes", true).await;
    assert_eq!(exec(world, "changes", "cat /it/key; ls /it").await.unwrap(), "oldkey\nold\n");
    world.fleet.kubectl(&format!("delete secret changes -n {NAMESPACE}"));
    create(world, &[secret("new")]);
    let start = Instant::now();
    eventually(PATIENCE, "the pod sees the new Secret", || async {
        let seen = exec(world, "changes", "cat /it/key; ls /it").await?;
        if seen == "newkey\nnew\n" { Ok(()) } else { Err(seen) }
    })
    .await;
    figure(&format!("a changed Secret is in the pod {:?} after kubectl", start.elapsed()));
    let status = status(world, "changes").unwrap();
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0, "{status}");
}

async fn bed_renews_tokens(Scene { world, .. }: &mut Scene) {
    let source = json!({"audience": "convoy", "expirationSeconds": 600, "path": "token"});
    let projected =
        json!({"projected": {"sources": [{"serviceAccountToken": source}]}, "name": "it"});
    let mounts = json!({"volumeMounts": [{"name": "it", "mountPath": "/it"}]});
    create(world, &[shell("token", WAIT, mounts, json!({"volumes": [projected]}))]);
    ready(world, "token", true).await;
    let old = exec(world, "token", "cat /it/token").await.unwrap();
    let claims = URL_SAFE_NO_PAD.decode(old.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], json!(["convoy"]));
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], "token");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    // Of the account, for the API server.
    let path = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let of_api = exec(world, "token", &format!("cat {path}")).await.unwrap();
    let who = world.fleet.kubectl(&format!("auth whoami --token={of_api} -ojson"));
    assert!(who.contains(&format!("system:serviceaccount:{NAMESPACE}:default")), "{who}");
    // A token carries the second in which it was issued.
    eventually(PATIENCE, "there is a new token", || async {
        world.fleet_kubelet().renew_tokens();
        let new = exec(world, "token", "cat /it/token").await?;
        if new == old { Err(new) } else { Ok(()) }
    })
    .await;
}

async fn bed_pods_are_ready_when_probes_say_so(Scene { world, .. }: &mut Scene) {
    let command = ["/bin/sh", "-c", "test -e /tmp/ready"];
    let probe = json!({"exec": {"command": command}, "periodSeconds": 1, "failureThreshold": 2});
    let hook = json!({"preStop": {"sleep": {"seconds": 30}}});
    let container = json!({"readinessProbe": probe, "lifecycle": hook});
    let grace = json!({"terminationGracePeriodSeconds": 40});
    create(world, &[shell("probed", WAIT, container, grace)]);
    printed(world, "probed", "main", "up").await;
    ready(world, "probed", false).await;
    for is_ready in [true, false] {
        let change = if is_ready { "touch /tmp/ready" } else { "rm /tmp/ready" };
        exec(world, "probed", change).await.unwrap();
        ready(world, "probed", is_ready).await;
    }
    // A pod that is being removed is still asked, and goes at once where no grace is given any more.
    exec(world, "probed", "touch /tmp/ready").await.unwrap();
    ready(world, "probed", true).await;
    delete(world, "probed");
    exec(world, "probed", "rm /tmp/ready").await.unwrap();
    ready(world, "probed", false).await;
    let at_once = "--grace-period=1 --wait=false";
    world.fleet.kubectl(&format!("delete pod probed -n {NAMESPACE} {at_once}"));
    let start = Instant::now();
    is_gone(world, "probed").await;
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

async fn bed_takes_orders_for_isolated_pods(Scene { world, .. }: &mut Scene) {
    let (own, address) = (world.fleet_kubelet(), ready(world, "one", true).await);
    let order = |order| own.order_pod(NAMESPACE, "one", order);
    order(Order::Pause).await;
    assert_eq!(answer(address).await.unwrap_err(), "timeout");
    order(Order::Resume).await;
    answer(address).await.unwrap();
    order(Order::Kill).await;
    assert!(answer(address).await.unwrap_err().starts_with("connect: "));
    order(Order::Revive).await;
    eventually(PATIENCE, "it listens again", || answer(address)).await;
    let status = status(world, "one").unwrap();
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0, "{status}");
    order(Order::Unready).await;
    ready(world, "one", false).await;
    order(Order::Ready).await;
    ready(world, "one", true).await;
    // By a signal that nobody ordered it ends for the kubelet too.
    let process = own.processes(NAMESPACE, "one")["main"];
    kill(Pid::from_raw(process.try_into().unwrap()), Signal::SIGKILL).unwrap();
    let end = status_until(world, "one", |status| {
        let end = &status["containerStatuses"][0]["lastState"]["terminated"];
        end.is_object().then(|| end.clone())
    });
    assert_eq!(end.await["exitCode"], 137);
    eventually(PATIENCE, "it listens again", || answer(address)).await;
}

async fn bed_restarts_what_ends_and_what_is_ill(Scene { world, .. }: &mut Scene) {
    // The first run fails, the second falls ill.
    let script = format!(
        "[ -e /runs/1 ] || {{ touch /runs/1; echo first; exit 3; }}
         [ -e /runs/2 ] || {{ touch /runs/2 /tmp/ill; echo second; }}; {WAIT}"
    );
    let command = ["/bin/sh", "-c", "test ! -e /tmp/ill"];
    let container = json!({
        "volumeMounts": [{"name": "runs", "mountPath": "/runs"}],
        "livenessProbe": {"exec": {"command": command}, "periodSeconds": 1, "failureThreshold": 1,
                          "initialDelaySeconds": 1},
    });
    let volumes = json!({"volumes": [{"name": "runs", "emptyDir": {}}]});
    create(world, &[shell("ill", &script, container, volumes)]);
    let ended = |status: &Value, restarts: i32| {
        let container = &status["containerStatuses"][0];
        let end = &container["lastState"]["terminated"];
        (container["restartCount"] == restarts).then(|| end.clone())
    };
    let end = status_until(world, "ill", |status| ended(status, 1)).await;
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(3), &json!("Error")));
    let end = status_until(world, "ill", |status| ended(status, 2)).await;
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(0), &json!("Completed")));
    ready(world, "ill", true).await;
    let output = world.fleet_kubelet().output(NAMESPACE, "ill", "main");
    assert_eq!(
        output,
        "first\nsecond\nup\nbed: liveness probe failed: exit status: 1\ntold to end\nup\n"
    );
}

async fn bed_runs_init_containers_in_order(Scene { world, .. }: &mut Scene) {
    let note = |name: &str, script: &str| {
        let args = json!(["-c", script]);
        json!({"name": name, "image": "shell", "args": args,
               "volumeMounts": [{"name": "notes", "mountPath": "/notes"}]})
    };
    let mut beside = note("beside", &format!("echo beside >>/notes/all; {WAIT}"));
    extend(&mut beside, json!({"restartPolicy": "Always"}));
    let spec = json!({
        "terminationGracePeriodSeconds": 5,
        "initContainers": [
            note("first", "sleep 0.3; echo first >>/notes/all"), beside,
            note("second", "while ! grep -q beside /notes/all; do sleep 0.1; done
                            echo second >>/notes/all"),
        ],
        "containers": [note("main", &format!("cat /notes/all; {WAIT}"))],
        "volumes": [{"name": "notes", "emptyDir": {}}],
    });
    create(world, &[named("init", spec)]);
    let output = printed(world, "init", "main", "up").await;
    assert_eq!(output, "first\nbeside\nsecond\nup\n");
    ready(world, "init", true).await;
    let status = status(world, "init").unwrap();
    for (n, state) in [(0, "terminated"), (1, "running"), (2, "terminated")] {
        let container = &status["initContainerStatuses"][n];
        assert!(container["state"][state].is_object() && container["ready"] == true, "{container}");
    }
    delete(world, "init");
    is_gone(world, "init").await;
    printed(world, "init", "beside", "told to end").await;
}

async fn bed_ends_pods_with_grace(Scene { world, .. }: &mut Scene) {
    let hook = |hook: Value| json!({"lifecycle": {"preStop": hook}});
    let sleeps = hook(json!({"sleep": {"seconds": 2}}));
    let notes = hook(json!({"exec": {"command": ["/bin/sh", "-c", "echo hook"]}}));
    let grace = |seconds: u32| json!({"terminationGracePeriodSeconds": seconds});
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    create(
        world,
        &[
            shell("sleeps", WAIT, sleeps, grace(20)),
            shell("notes", WAIT, notes, grace(20)),
            shell("deaf", deaf, json!({}), grace(1)),
        ],
    );
    // The least and the most that the end of each takes, in seconds, and its last words.
    for (pod, least, most, words) in [
        ("sleeps", 2.0, 10.0, "up\ntold to end\n"),
        ("notes", 0.0, 10.0, "up\nhook\ntold to end\n"),
        ("deaf", 1.0, 10.0, "up\n"),
    ] {
        printed(world, pod, "main", "up").await;
        ready(world, pod, true).await;
        delete(world, pod);
        let start = Instant::now();
        // It serves on for the hook.
        assert!(!world.fleet_kubelet().processes(NAMESPACE, pod).is_empty());
        is_gone(world, pod).await;
        let took = start.elapsed().as_secs_f64();
        assert!(least - 0.3 <= took && took <= most, "{pod} took {took} s");
        assert_eq!(world.fleet_kubelet().output(NAMESPACE, pod, "main"), words, "{pod}");
        assert!(world.fleet_kubelet().processes(NAMESPACE, pod).is_empty());
    }
}

/// A listener that answers one host.
const ENVOY: &str = r#"
static_resources:
  listeners:
  - address: {socket_address: {address: 0.0.0.0, port_value: 19003}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ready
          route_config:
            virtual_hosts:
            - name: ready
              domains: [_ready.convoy]
              routes: [{match: {prefix: /ready}, direct_response: {status: 200}}]
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"#;

async fn bed_runs_an_envoy(Scene { world, .. }: &mut Scene) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "envoy"},
                     "data": {"envoy.yaml": ENVOY}});
    let pod = |name: &str, host: &str| {
        let headers = json!([{"name": "Host", "value": host}]);
        let probe = json!({"httpGet": {"path": "/ready", "port": "ready", "httpHeaders": headers},
                           "periodSeconds": 1});
        let container = json!({
            "name": "envoy", "image": "docker.io/envoyproxy/envoy:distroless-v1.40.0",
            "args": ["-c", "/etc/envoy/envoy.yaml", "--concurrency", "1"],
            "ports": [{"name": "ready", "containerPort": 19003}], "readinessProbe": probe,
            "securityContext": {"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/envoy"}],
        });
        let volumes = json!([{"name": "config", "configMap": {"name": "envoy"}}]);
        named(name, json!({"containers": [container], "volumes": volumes}))
    };
    create(world, &[map, pod("envoy", "_ready.convoy"), pod("other", "example.com")]);
    ready(world, "envoy", true).await;
    // The other runs beside it, and answers that there is no such host.
    let started = status_until(world, "other", |it| {
        it["containerStatuses"][0]["started"].as_bool().filter(|it| *it)
    });
    started.await;
    ready(world, "other", false).await;
    for pod in ["envoy", "other"] {
        delete(world, pod);
        is_gone(world, pod).await;
    }
}

async fn bed_runs_a_convoy(Scene { world, .. }: &mut Scene) {
    let of_account = |words: &str| world.fleet.kubectl(&format!("{words} -n convoy-system"));
    let account = of_account("get serviceaccounts -oname");
    assert!(account.contains("serviceaccount/convoy\n"), "{account}");
    let probe = json!({"httpGet": {"path": "/readyz", "port": 18001}, "periodSeconds": 1});
    let container = json!({
        "name": "convoy", "image": "ghcr.io/convoy/convoy:0.1.0",
        "readinessProbe": probe,
        "securityContext": {"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
    });
    let labels = json!({"app": "convoy"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "convoy"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": "convoy", "containers": [container]},
            },
        },
    });
    world.fleet.apply(&deployment.to_string(), "-n convoy-system");
    let start = Instant::now();
    let words = "get deployment convoy -n convoy-system -ojsonpath={.status.readyReplicas}";
    eventually(PATIENCE, "two Convoys are ready", || async {
        let ready = world.fleet.try_kubectl(words, "")?;
        let said = |pod: &str| world.fleet_kubelet().output("convoy-system", pod, "convoy");
        let pods = world.fleet_kubelet().pods_with("app", "convoy");
        match ready == "2" {
            true => Ok(()),
            false => Err(pods.iter().map(|(_, pod, _)| said(pod)).collect::<String>()),
        }
    })
    .await;
    figure(&format!("2 Convoys ready {:?} after kubectl apply", start.elapsed()));
}
