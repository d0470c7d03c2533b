"""The way from root to a user that PostgreSQL accepts."""

import os
import subprocess
from dataclasses import replace

from at_worker.embedded.cluster import Cluster, EmbeddedError

NOBODY = 65534


def unprivileged(cluster: Cluster) -> Cluster:
    """The cluster with a command in front of its programs under which they are not root.

    A user namespace leaves the files root's own. Where namespaces are forbidden, as in most containers, the
    programs run as nobody; the capability lets them reach files below directories that only root may enter.
    """
    if os.geteuid() != 0:
        return cluster
    if cluster.directory.stat().st_uid != 0:
        raise EmbeddedError(f"{cluster.directory} belongs to another user: run at-worker as that user")
    namespace = replace(cluster, wrapper=("unshare", "--user", "--map-user=1000", "--map-group=1000", "--"))
    nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    reaching = replace(
        cluster,
        wrapper=(*nobody, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"),
        uid=NOBODY,
    )
    plain = replace(cluster, wrapper=(*nobody, "--"), uid=NOBODY)
    given_away = cluster.data.exists() and cluster.data.stat().st_uid == NOBODY
    for choice in (reaching, plain) if given_away else (namespace, reaching, plain):
        if _works(choice):
            return choice
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and neither a user namespace nor the user nobody helps here: "
        "run at-worker as an ordinary user, or install it where other users may read it"
    )


def _works(cluster: Cluster) -> bool:
    """True when PostgreSQL can be run and its directory be reached.

    initdb looks for its companions with access(2), which ignores the capability: they must not lie below a
    directory that only root may enter.
    """
    show = 'cd "$1" && exec "$0" --show --pgdata="$1/data"'
    reach = ("sh", "-c", show, cluster.binaries / "initdb", cluster.directory)
    try:
        done = subprocess.run([*cluster.wrapper, *reach], cwd="/", capture_output=True, check=False)  # noqa: S603 - constants
    except OSError:
        return False
    return done.returncode == 0
