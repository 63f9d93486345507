#!/bin/bash
# A Slurm of one's own: several nodes on this machine, to try jobs before a real queue sees them.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: scripts/slurm_cluster.sh start|stop [--folder DIR] [--nodes N] [--cpus C]

start  starts munged, slurmctld and N slurmd (default 2) of C CPUs each (default 2) under DIR (default /tmp/ulmpi-slurm),
       waits until all nodes are idle, and prints the line that makes sbatch and its kin talk to them
stop   ends them and their jobs, and removes DIR

Needs root, and Debian's slurm-wlm and munge (apt-get install slurm-wlm munge). Touches nothing outside DIR.
TEXT
}

action=${1:-} && [ $# -gt 0 ] && shift
folder=/tmp/ulmpi-slurm nodes=2 cpus=2
[[ $action = --help || $action = -h ]] && usage && exit
[[ $action =~ ^(start|stop)$ ]] || fail "start or stop? --help explains"
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage && exit ;;
        --folder) folder=$2 && shift 2 ;;
        --nodes) nodes=$2 && shift 2 ;;
        --cpus) cpus=$2 && shift 2 ;;
        *) fail "unknown option $1; --help explains" ;;
    esac
done
export SLURM_CONF=$folder/slurm.conf

# Ends what left a process id in the folder.
end_daemons() {
    local pid_file pid
    for pid_file in "$folder"/pid/*; do
        [ -e "$pid_file" ] || continue
        pid=$(<"$pid_file")
        kill "$pid" 2>/dev/null || true
        for _ in {1..50}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}

if [ "$action" = stop ]; then
    grep -qs '^ClusterName=ulmpi$' "$SLURM_CONF" || fail "$folder holds no cluster that this script started"
    scancel --user="$(id -un)" --signal=KILL --full 2>/dev/null || true
    scancel --user="$(id -un)" 2>/dev/null || true
    for _ in {1..50}; do
        [ -z "$(squeue --noheader 2>/dev/null)" ] && break
        sleep 0.2
    done
    end_daemons
    rm -rf "$folder"
    exit
fi

[ "$(id -u)" = 0 ] || fail "slurmctld and slurmd need root here"
for program in munged slurmctld slurmd sbatch; do
    PATH=$PATH:/usr/sbin command -v $program >/dev/null || fail "$program is missing: apt-get install slurm-wlm munge"
done
PATH=$PATH:/usr/sbin
[ ! -e "$folder" ] || fail "$folder is there already: scripts/slurm_cluster.sh stop --folder $folder"
mkdir -p "$folder"/{munge,state,spool,log,pid}
chmod 755 "$folder" "$folder"/pid
trap 'end_daemons; rm -rf "$folder"' EXIT # unless all goes well

dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
chmod 400 "$folder/munge/key"
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/pid/munged" \
    --log-file="$folder/log/munged" --seed-file="$folder/munge/seed"

host=$(hostname -s)
cat >"$SLURM_CONF" <<CONF
ClusterName=ulmpi
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
KillWait=5
MpiDefault=none
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/pid/slurmctld
SlurmdPidFile=$folder/pid/%n
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/%n
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-$((17000 + nodes))] CPUs=$cpus RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE OverSubscribe=YES
CONF

slurmctld -i
for ((node = 1; node <= nodes; ++node)); do slurmd -N n$node; done
for _ in {1..100}; do
    [ "$(sinfo --noheader --Node --format=%t 2>/dev/null | grep -c idle)" = "$nodes" ] && break
    sleep 0.2
done
[ "$(sinfo --noheader --Node --format=%t | grep -c idle)" = "$nodes" ] || {
    sinfo >&2
    tail -n 5 "$folder"/log/* >&2
    fail "the nodes did not come up"
}
trap - EXIT
echo "export SLURM_CONF=$SLURM_CONF"
