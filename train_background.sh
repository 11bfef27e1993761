#!/usr/bin/env bash
# Trains in the background: `./train_background.sh FLAGS…` is `python3 train.py FLAGS…`, and outlives the terminal.
#
# Who runs what: this script starts a supervisor (itself again, in a session of its own), the supervisor starts train.py,
# waits for it, and writes down how it ended. In the output folder lie
#   train.log    all that the run prints; a new run is appended
#   train.pid    the running process: its id, and its start time and the machine's boot, for ids are used again
#   train.exit   the exit code of the run that ended
set -u

readonly EXIT_USAGE=2 EXIT_WORLD=4
readonly WATCH_S="${VRAMWISE_WATCH_S:-5}"      # a run that dies within so many seconds is reported at once
readonly STOP_S="${VRAMWISE_STOP_S:-600}"      # how long --stop waits for the run to save
readonly POLL_S=0.2
script="$(readlink -f -- "${BASH_SOURCE[0]}")"
readonly script
readonly train_py="${VRAMWISE_TRAIN_PY:-${script%/*}/train.py}" # tests put another program here

usage() {
  cat <<'TEXT'
Usage:
  ./train_background.sh FLAGS…                  start `python3 train.py FLAGS…` in the background
  ./train_background.sh --status [--out_dir D]  is it running, since when, its last line; exit code 0: it is, 1: it isn't
  ./train_background.sh --logs   [--out_dir D]  its output, followed until the run ends
  ./train_background.sh --stop   [--out_dir D]  ask it to save and end, and wait for that

One run an output folder (--out_dir, as train.py's: "out" where none is named). All other flags are train.py's own:
`python3 train.py --help` lists them. Output goes to D/train.log.
TEXT
}

fail() { # CODE MESSAGE…
  local code="$1"
  shift
  printf '%s\n' "$@" >&2
  exit "$code"
}

# ---- the record of a process ------------------------------------------------------------------------------------------

boot_id() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo unknown; }

# Prints the start time of a process in clock ticks since the boot, field 22 of /proc/PID/stat; fails if there is none,
# or if it ended and was only not yet waited for. Field 2, the name, may hold spaces and parentheses.
start_time() { # PID
  local stat fields
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  read -r -a fields <<<"${stat##*) }"
  [[ "${fields[0]}" != [ZX] ]] && printf '%s\n' "${fields[19]}"
}

write_file() { # FILE TEXT: at once, or not at all
  printf '%s\n' "$2" >"$1.tmp" && mv -f -- "$1.tmp" "$1"
}

# Prints the id of the run that is going on in the folder; fails if there is none. A record whose process is gone, or
# whose id belongs to another process by now, is stale.
running_pid() { # FOLDER
  local pid start boot
  read -r pid start boot 2>/dev/null <"$1/train.pid" || return 1
  [[ "$pid" =~ ^[0-9]+$ && "$boot" == "$(boot_id)" && "$(start_time "$pid")" == "$start" ]] && printf '%s\n' "$pid"
}

exit_meaning() { # CODE
  case "$1" in
    0) echo "finished" ;;
    2) echo "a flag was wrong" ;;
    3) echo "it does not fit into memory" ;;
    4) echo "a file, the driver or a device failed" ;;
    70) echo "a bug in vramwise" ;;
    130 | 143) echo "stopped on request" ;;
    137) echo "killed, perhaps by the system for want of memory (dmesg tells)" ;;
    *) if (($1 > 128)); then echo "ended by signal $(($1 - 128))"; else echo "failed"; fi ;;
  esac
}

how_it_ended() { # FOLDER
  local code
  if read -r code 2>/dev/null <"$1/train.exit"; then
    echo "The last run in $1 ended with exit code $code: $(exit_meaning "$code")."
  elif [[ -e "$1/train.pid" ]]; then
    echo "The last run in $1 ended without a word: it was killed together with its supervisor, or the machine went down."
  else
    echo "No run was started in $1 by this script."
  fi
}

last_lines() { # FOLDER COUNT; progress bars overwrite a line with \r: what was seen last stands
  tail -n "$2" -- "$1/train.log" 2>/dev/null | sed 's/\r*$//; s/.*\r//'
}

# ---- starting -----------------------------------------------------------------------------------------------------------

# In a session of its own. What it starts writes its own id down and then becomes train.py, so the id is the run's.
supervise() { # FOLDER FLAGS…
  local folder="$1" code
  "$BASH" "$script" __become "$@"
  code=$?
  printf '=== %s ended with exit code %d: %s ===\n' "$(date '+%F %T')" "$code" "$(exit_meaning "$code")"
  write_file "$folder/train.exit" "$code"
}

become() { # FOLDER FLAGS…
  local folder="$1"
  shift
  write_file "$folder/train.pid" "$$ $(start_time "$$") $(boot_id)" || exit "$EXIT_WORLD"
  export PYTHONUNBUFFERED=1
  exec python3 "$train_py" "$@"
}

refuse_second_run() { # FOLDER
  local pid
  if pid="$(running_pid "$1")"; then
    fail "$EXIT_USAGE" "A run is going on in $1 (process $pid)." \
      "Watch it with --logs, end it with --stop, or choose another folder with --out_dir."
  fi
  # A run that was started in a terminal holds this lock.
  if [[ -e "$1/.lock" ]] && ! flock -n "$1/.lock" true; then
    fail "$EXIT_USAGE" "A run that was not started by this script is going on in $1 (process $(head -c 20 -- "$1/.lock"))." \
      "Wait for it, or choose another folder with --out_dir."
  fi
}

# Waits while a fresh run may still die of a wrong flag or missing data. Fails when it has ended.
survives_its_start() { # FOLDER
  local deadline=$((SECONDS + WATCH_S))
  until [[ -e "$1/train.exit" ]]; do
    ((SECONDS < deadline)) || return 0
    sleep "$POLL_S"
  done
  return 1
}

start() { # FOLDER FLAGS…
  local folder="$1" log="$1/train.log" from code
  mkdir -p -- "$folder" || fail "$EXIT_WORLD" "The output folder $folder cannot be made."
  exec 9>"$folder/.background_lock" || fail "$EXIT_WORLD" "The output folder $folder cannot be written to."
  flock -n 9 || fail "$EXIT_USAGE" "Another start in $folder is under way."
  refuse_second_run "$folder"
  rm -f -- "$folder/train.pid" "$folder/train.exit"
  shift
  printf '=== %s train.py%s ===\n' "$(date '+%F %T')" "$( (($#)) && printf ' %q' "$@")" >>"$log" ||
    fail "$EXIT_WORLD" "$log cannot be written."
  from=$(($(wc -l <"$log") + 1))

  # --fork rather than &: what bash puts into the background ignores Ctrl-C's signal for good.
  setsid --fork -- "$BASH" "$script" __supervise "$folder" "$@" </dev/null >>"$log" 2>&1 9>&-
  if survives_its_start "$folder"; then
    echo "Training in the background (process $(running_pid "$folder")). Output: $log"
    echo "  ${0} --status | --logs | --stop$([[ "$folder" == out ]] || printf ' --out_dir %q' "$folder")"
    return 0
  fi
  code="$(cat "$folder/train.exit")"
  tail -n "+$from" -- "$log" | tail -n 20 >&2
  ((code == 0)) || fail "$code" "The run ended at once, with exit code $code: $(exit_meaning "$code"). Its output is in $log."
  echo "The run has finished already. Its output is in $log."
}

# ---- looking, following, stopping ---------------------------------------------------------------------------------------

status() { # FOLDER
  local pid
  if ! pid="$(running_pid "$1")"; then
    how_it_ended "$1"
    return 1
  fi
  echo "Running in $1: process $pid, for $(ps -o etime= -p "$pid" | tr -d ' ') (hours:minutes:seconds)."
  last_lines "$1" 1
}

logs() { # FOLDER
  local pid
  [[ -e "$1/train.log" ]] || fail "$EXIT_WORLD" "There is no $1/train.log: no run was started in $1 by this script."
  if pid="$(running_pid "$1")"; then
    exec tail --pid="$pid" -n 1000 -F -- "$1/train.log"
  fi
  exec cat -- "$1/train.log"
}

stop() { # FOLDER
  local pid deadline=$((SECONDS + STOP_S)) code
  if ! pid="$(running_pid "$1")"; then
    how_it_ended "$1"
    return 0
  fi
  kill -TERM "$pid" || fail "$EXIT_WORLD" "Process $pid cannot be asked to end."
  echo "Asked process $pid to save and end; waiting for it."
  while running_pid "$1" >/dev/null; do
    ((SECONDS < deadline)) ||
      fail "$EXIT_WORLD" "It is still at it after $STOP_S s. Wait with --logs, or end it without saving: kill -KILL $pid"
    sleep "$POLL_S"
  done
  # The supervisor writes the exit code a moment later.
  for _ in {1..25}; do
    [[ -e "$1/train.exit" ]] && break
    sleep "$POLL_S"
  done
  last_lines "$1" 5
  how_it_ended "$1"
  read -r code 2>/dev/null <"$1/train.exit" || return "$EXIT_WORLD"
  # Stopping is what was wanted, so the codes for it are no failure here.
  [[ "$code" == 130 || "$code" == 143 ]] || return "$code"
}

# ---- the command line ---------------------------------------------------------------------------------------------------

main() {
  case "${1-}" in
    __supervise) shift && supervise "$@" && return ;;
    __become) shift && become "$@" ;;
  esac
  local action=start folder=out flags=("$@")
  while (($#)); do
    case "$1" in
      --out_dir | --out-dir)
        (($# > 1)) || fail "$EXIT_USAGE" "$1 needs a folder behind it."
        folder="$2"
        shift
        ;;
      --out_dir=* | --out-dir=*) folder="${1#*=}" ;;
      --status | --logs | --stop) action="${1#--}" ;;
      -h | --help) usage && return ;;
    esac
    shift
  done
  [[ -n "$folder" ]] || fail "$EXIT_USAGE" "--out_dir needs a folder."
  if [[ "$action" == start ]]; then start "$folder" ${flags[@]+"${flags[@]}"}; else "$action" "$folder"; fi
}

main "$@"
