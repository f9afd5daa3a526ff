#!/usr/bin/env bash
# Makes the vectors beside this script anew with the real tool of OpenSSF Model Signing.
# Give it a Python that has model-signing 1.1.1 and pyOpenSSL (which that release needs and does not declare).
set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd)
python=${1:?usage: make.sh PYTHON}
cd -- "$here"
rm -rf package ./*.sig.json ./*.pub.pem
mkdir -p package/golden
printf 'name = "example"\n' >package/manifest.toml
printf 'golden\n' >package/golden/one.npz
printf 'not a network\n' >package/model.onnx
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
for curve in prime256v1 secp384r1 secp521r1; do
  openssl ecparam -name "$curve" -genkey -noout -out "$scratch/$curve.pem"
  openssl ec -in "$scratch/$curve.pem" -pubout -out "$curve.pub.pem"
  "$python" -m model_signing sign key --private_key "$scratch/$curve.pem" --signature "$curve.sig.json" package
  "$python" -m model_signing verify key --public_key "$curve.pub.pem" --signature "$curve.sig.json" package
done
