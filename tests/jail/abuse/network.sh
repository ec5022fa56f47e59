# SPDX-License-Identifier: Apache-2.0
# network.sh - the network, where there is none.

case_14() {
  try 'TCP of the harness' probe tcp 127.0.0.1 "$PORT"
  for address in 169.254.169.254 fd00:ec2::254 100.100.100.200 10.0.0.1; do
    alone 'ENETUNREACH ECONNREFUSED' "$address" probe tcp $address 80
  done
}

case_15() {
  try 'UDP of the harness' probe udp-heard 127.0.0.1 "$PORT"
  for address in 8.8.8.8 1.1.1.1 2001:4860:4860::8888; do
    alone 'ENETUNREACH' "UDP to $address" probe udp $address 53
    alone 'ENETUNREACH' "TCP to $address" probe tcp $address 53
    alone 'ENETUNREACH' "TLS to $address" probe tcp $address 853
    alone 'ENETUNREACH' "HTTPS to $address" probe tcp $address 443
  done
}
