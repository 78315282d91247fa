#!/bin/sh
# Prints install.yaml: both charts with their defaults, rendered by the program HELM (its whole path).
#
#   deploy/render.sh HELM
set -eu

helm=$1
cd "$(dirname "$0")"
namespace=convoy-system

# Labels that say it was Helm are not true of what is applied by hand.
render() {
  rendered=$("$helm" template "$@")
  echo "$rendered" | sed -e '/^ *helm\.sh\/chart:/d' -e '/^ *app\.kubernetes\.io\/managed-by: Helm$/d'
}

cat <<END
# Convoy with the defaults of deploy/helm/convoy, for those without Helm:
#
#   kubectl apply --server-side -f deploy/install.yaml
#
# Written by \`make install-yaml\`. The image is \`convoy:VERSION\`: build it, push it, and name it here,
# also where --gateway-drain-image does.
END
render convoy-crds helm/convoy-crds --set keep=false
cat <<END
---
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels:
    pod-security.kubernetes.io/enforce: restricted
END
render convoy helm/convoy --namespace $namespace
