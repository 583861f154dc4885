"""sbatch's long options, by its manual page, with the form of a value where a script of ours gives one."""

#: Some value; None in the table below: no value.
_ANY = r".+"
_COUNT = r"\d+"
_SIZE = r"\d+[KMGT]?"
_GPUS = r"([\w.]+:)?\d+"
_VALUED = """\
account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint
container container-id core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot
dependency distribution error exclude export export-file extra extra-node-info gid gpu-bind gpu-freq gpus
gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input job-name kill-on-invalid-dep
licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nodefile
nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket open-mode output
partition prefer priority profile qos reservation segment signal sockets-per-node switches thread-spec
threads-per-core time time-min tmp tres-bind tres-per-task uid wait-all-nodes wckey wrap"""
_BARE = """\
contiguous exclusive get-user-env help hold ignore-pbs nice no-kill no-requeue overcommit oversubscribe
parsable propagate quiet reboot requeue spread-job stepmgr test-only usage use-min-nodes verbose version
wait"""

#: Option to the regular expression that its value must match, or None.
SBATCH_OPTIONS: dict[str, str | None] = {
    **{f"--{name}": None for name in _BARE.split()},
    **{f"--{name}": _ANY for name in _VALUED.split()},
    "--array": r"\d+(-\d+(:\d+)?)?(,\d+(-\d+)?)*(%\d+)?",
    "--cpus-per-task": _COUNT,
    "--gpus": _GPUS,
    "--gpus-per-node": _GPUS,
    "--gpus-per-task": _GPUS,
    "--mem": _SIZE,
    "--nodes": r"\d+(-\d+)?",
    "--ntasks": _COUNT,
    "--open-mode": "append|truncate",
    "--signal": r"([RB]:)?(\d+|[A-Z]+\d?)(@\d{1,5})?",
    "--time": r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}",
}
