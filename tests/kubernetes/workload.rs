//! Step 1 of the zone disaster recovery guide: what its chart renders in a member, verbatim but for
//! its placeholders.

/// Deployment `web-demo` and Service `service1`.
const WEB_DEMO: &str = "\
apiVersion: v1
kind: Service
metadata: {name: service1, namespace: gateway-demo}
spec:
  ports: [{port: 80, protocol: TCP, targetPort: 8080}]
  selector: {app: web-demo}
  sessionAffinity: None
  type: ClusterIP
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-demo, namespace: gateway-demo}
spec:
  replicas: 1
  selector: {matchLabels: {app: web-demo}}
  template:
    metadata: {labels: {app: web-demo}}
    spec:
      containers:
      - env: [{name: ENV_NAME, value: cluster-demo-1}]
        image: 'registry-cn-hangzhou.ack.aliyuncs.com/acs/web-demo:0.5.0'
        imagePullPolicy: Always
        name: web-demo
";

/// For a member by its id, as in `c1`.
pub(crate) fn web_demo(member: &str, replicas: usize) -> String {
    let env = format!("cluster-demo-{}", member.trim_start_matches('c'));
    WEB_DEMO
        .replace("cluster-demo-1", &env)
        .replace("replicas: 1", &format!("replicas: {replicas}"))
}

/// Step 3a: the canary version, which exists in cluster 1 only.
pub(crate) fn canary() -> String {
    WEB_DEMO
        .replace("name: service1,", "name: service1-canary-1,")
        .replace("metadata: {name: web-demo,", "metadata: {name: web-demo-canary-1,")
        .replace("app: web-demo", "app: web-demo-canary-1")
        .replace("value: cluster-demo-1", "value: cluster-demo-1-canary")
        .replace("web-demo:0.5.0", "web-demo:0.6.0")
}
