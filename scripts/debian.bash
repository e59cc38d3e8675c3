# Packages from Debian's archive, unpacked into folders of the workspace and installed nowhere: apt runs with private lists,
# sources and caches, and the machine's are only read. Sourced by scripts/adapters.
#
# The archive is the one that the machine's own sources name, or $GUANACO_DEBIAN_MIRROR where these name none (Ubuntu, say,
# with the package debian-archive-keyring installed).
# shellcheck shell=bash

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The release of a Debian machine; "stable" elsewhere.
# shellcheck disable=SC1091,SC2015 # a file of the system; either way the answer may be empty
codename=$(. /etc/os-release 2>/dev/null && if [ "${ID:-}" = debian ]; then printf '%s' "${VERSION_CODENAME:-}"; fi || true)
codename=${codename:-stable}

# Sets $url, or says why there is no archive to fetch from and fails.
find_archive() {
    if [ "$(uname -s)" != Linux ] || ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        echo "they come as Debian packages, and there is no apt here"
        return 1
    fi
    if [ ! -r "$keyring" ]; then
        echo "Debian's signing keys are missing (package debian-archive-keyring)"
        return 1
    fi
    url=$(mirror)
    if [ -z "$url" ]; then
        echo "the machine's apt sources name no Debian archive; set GUANACO_DEBIAN_MIRROR to the URL of one"
        return 1
    fi
}

mirror() {
    if [ -n "${GUANACO_DEBIAN_MIRROR:-}" ]; then
        printf '%s\n' "$GUANACO_DEBIAN_MIRROR"
        return
    fi
    # $(…) inside the quotes is apt's own format language.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 == "Debian" && $2 == "Debian" && !found { print $3; found = 1 }'
}

# Runs apt-get with everything private to folder $1; $2… are its arguments.
private_apt() {
    local folder=$1
    shift
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$folder/sources" \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$folder/preferences" \
        -o Dir::State::lists="$folder/lists" -o Dir::State::status="$folder/status" \
        -o Dir::State::extended_states="$folder/extended_states" \
        -o Dir::Cache="$folder" -o Dir::Cache::archives="$folder/archives" \
        -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 -o APT::Get::List-Cleanup=0 \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
        "$@" </dev/null
}

# fetch FOLDER "SUITE…" TARGET PACKAGE…: downloads the packages (with all that they depend on, down to the C library, unless
# TARGET is "alone") and unpacks them into FOLDER/root.
fetch() {
    local folder=$1 suites=$2 target=$3 archive
    shift 3
    mkdir -p "$folder/apt/sources" "$folder/apt/preferences" "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/root"
    : >"$folder/apt/status"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$url" "$suites" "$keyring" \
        >"$folder/apt/sources/debian.sources"
    private_apt "$folder/apt" update || return 1
    if [ "$target" = alone ]; then
        (cd "$folder/apt/archives" && private_apt "$folder/apt" download "$@") || return 1
    else
        private_apt "$folder/apt" install --download-only --no-install-recommends -t "$target" "$@" || return 1
    fi
    for archive in "$folder"/apt/archives/*.deb; do
        dpkg -x "$archive" "$folder/root" || return 1
        basename "$archive" .deb >>"$folder/packages.txt"
    done
    rm -rf "$folder/apt"
}
