# BASH_ENV file: `module purge|load NAME/HASH` for `snakemake --sdm env-modules` on machines without a module system.
# NAME is an environment under .venvs (envs/make_environments.py); HASH begins the SHA-256 of its YAML file and lock.
module() {
  local venvs name stamp wanted
  venvs="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venvs"
  case "${1:-}" in
    purge) return 0 ;;
    load) shift ;;
    *)
      echo "module: only purge and load, not '${1:-}'" >&2
      exit 2
      ;;
  esac
  for wanted in "$@"; do
    name="${wanted%%/*}"
    stamp="$(cat "$venvs/$name/.built-from" 2>/dev/null || true)"
    # The rule's command follows after a semicolon: only leaving the shell keeps it from running.
    if [ -z "$stamp" ] || [[ "$wanted" == */* && "$stamp" != "${wanted#*/}"* ]]; then
      echo "environment $name is missing or out of date: run \`make environments ENVS=$name\`" >&2
      exit 1
    fi
    export VIRTUAL_ENV="$venvs/$name" PATH="$venvs/$name/bin:$PATH"
  done
}
export -f module
