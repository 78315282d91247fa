//! The manifests of the zone disaster recovery guide, verbatim but for its placeholders.

/// Step 2: the gateway, for members `c1` and `c2`.
pub(crate) const GATEWAY: &str = "\
apiVersion: mse.alibabacloud.com/v1alpha1
kind: MseIngressConfig
metadata:
  annotations:
    mse.alibabacloud.com/remote-clusters: c1,c2
  name: ackone-gateway-hongkong
spec:
  common:
    instance:
      replicas: 3
      spec: 2c4g
    network:
      vSwitches:
      - vsw-1
  ingress:
    local:
      ingressClass: mse
  name: mse-ingress
";

/// The name of [`GATEWAY`], which Envoys put in `node.cluster`.
pub(crate) const GATEWAY_NAME: &str = "ackone-gateway-hongkong";

/// Step 3a: active zone-redundancy; `/svc1` to `service1`.
pub(crate) const WEB_DEMO: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web-demo
spec:
  ingressClassName: mse
  rules:
  - host: example.com
    http:
      paths:
      - path: /svc1
        pathType: Exact
        backend:
          service:
            name: service1
            port:
              number: 80
";

/// Step 3a: the canary that exists in cluster 1 only.
pub(crate) const CANARY: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web-demo-canary-1
  namespace: gateway-demo
  annotations:
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-by-header: \"canary-dest\"
    nginx.ingress.kubernetes.io/canary-by-header-value: \"cluster1\"
spec:
  ingressClassName: mse
  rules:
  - host: example.com
    http:
      paths:
      - path: /svc1
        pathType: Exact
        backend:
          service:
            name: service1-canary-1
            port:
              number: 80
";

/// Step 3b: primary cluster 1, secondary the others; `/service1`.
pub(crate) const CLUSTER_ONE: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  annotations:
    mse.ingress.kubernetes.io/service-subset: cluster-demo-1
    mse.ingress.kubernetes.io/subset-labels: |
      topology.istio.io/cluster c1
  name: web-demo-cluster-one
spec:
  ingressClassName: mse
  rules:
  - host: example.com
    http:
      paths:
      - path: /service1
        pathType: Exact
        backend:
          service:
            name: service1
            port:
              number: 80
";

/// Step 3b: a header chooses cluster 2.
pub(crate) const CLUSTER_GRAY: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  annotations:
    mse.ingress.kubernetes.io/service-subset: cluster-demo-2
    mse.ingress.kubernetes.io/subset-labels: |
      topology.istio.io/cluster c2
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-by-header: \"app-web-demo-version\"
    nginx.ingress.kubernetes.io/canary-by-header-value: \"gray\"
  name: web-demo-cluster-gray
spec:
  ingressClassName: mse
  rules:
  - host: example.com
    http:
      paths:
      - path: /service1
        pathType: Exact
        backend:
          service:
            name: service1
            port:
              number: 80
";
