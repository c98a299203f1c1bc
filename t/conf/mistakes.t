#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Each class of mistake in main.cf and master.cf: named once, with its place and what is expected.
use strict;
use warnings;
use Gatepost::Kit;
use Test::More;

my $dir = tempdir('mistakes');
mkdir "$dir/folder";
my $port = "2525 inet n - n - - smtpd\n";

# A line of main.cf, where in it, what is said.
my @main = (
    ['message_size_limit = many', 22, 'error: message_size_limit: "many" is no number; expected 0 or more'],
    ['message_size_limit = -1', 22, 'error: message_size_limit: "-1" is no number; expected 0 or more'],
    ['smtpd_timeout = 5x', 17, 'error: smtpd_timeout: "5x" is no time; expected a number and s, m, h, d or w, 1s or more'],
    ['soft_bounce = ja', 15, 'error: soft_bounce: "ja" is neither; expected yes or no'],
    ['log_level = loud', 13, 'error: log_level: "loud" is none of its values; expected one of none, error, info, debug'],
    ['inet_protocols = ipv5', 18, 'error: inet_protocols: "ipv5" is none of its values; expected all, ipv4 or ipv6'],
    ['smtpd_dnsbl_sites = zen.example*2, b!d.example', 36, 'error: smtpd_dnsbl_sites: "b!d.example" is no DNS list; expected DOMAIN, with =127.0.0.[2;4..11] or *WEIGHT behind it'],
    ['smtpd_dnsbl_sites = zen.example=127.0.0.[2;4..11]*-3 a.example=x', 54, 'error: smtpd_dnsbl_sites: "a.example=x" is no DNS list; expected DOMAIN, with =127.0.0.[2;4..11] or *WEIGHT behind it'],
    ['smtpd_dnsbl_sites = a.example*many', 21, 'error: smtpd_dnsbl_sites: "a.example*many" is no DNS list; expected DOMAIN, with =127.0.0.[2;4..11] or *WEIGHT behind it'],
    ['myhostname = bad_host!', 14, 'error: myhostname: "bad_host!" is no host name; expected letters, digits, - and .'],
    ['relayhost = [mx.test:25', 13, 'error: relayhost: "[mx.test:25" has a bracket without its partner; expected [host], [host]:port or a domain'],
    ['address_verify_map = pcre:/x', 22, 'error: address_verify_map: "pcre:/x" is no table that is written to; expected btree:NAME, hash:NAME, lmdb:NAME or nothing'],
    ['address_verify_pending_request_limit = 0', 40, 'error: address_verify_pending_request_limit: "0" is out of bounds; expected 1 or more'],
    ['garbage line', 1, 'error: no "="; expected name = value'],
    ['= value', 1, 'error: "" is no name; expected letters, digits and _'],
    ['smtpd_baner = x', 1, 'error: unknown parameter "smtpd_baner"; expected "smtpd_banner"'],
    ['colourless_green_ideas = x', 1, 'error: unknown parameter "colourless_green_ideas"; expected one of gatepost.conf(5)'],
    ['slowly_destination_rate_delay = 1s', 1, 'error: slowly_destination_rate_delay is for a service "slowly"; expected one that master.cf lists'],
    ['smtpd_banner = ${myhostname', 16, 'error: smtpd_banner: a "${" without its "}"; expected ${name}'],
    ['smtpd_banner = $(myhostname', 16, 'error: smtpd_banner: a "$(" without its ")"; expected $(name)'],
    ['smtpd_banner = ${{a} == {b', 16, 'error: smtpd_banner: a "${" without its "}"; expected ${name}'],
    ['smtpd_banner = ${{a} ~ {b}}', 16, 'error: smtpd_banner: no operator; expected == != < <= >= or >'],
    ['smtpd_timeout = $nope', 17, 'error: smtpd_timeout: "$nope" is not defined; expected a parameter'],
    ['myorigin = $mydomian', 12, 'error: myorigin: "$mydomian" is not defined; expected "$mydomain"'],
    ["a = \$b\nb = \$a\nmyorigin = \$a\nsoft_bounce = \$b", 5, 'error: a: a value that leads back to itself; expected one that ends'],
    ["myorigin = \$mydestination\nmydestination = \$myorigin", 12, 'error: myorigin: a value that leads back to itself; expected one that ends'],
    ['inet_interfaces = 1.2.3.4.5', 19, 'error: inet_interfaces: "1.2.3.4.5" is no address and no host name; expected all, loopback-only, an address or a host name'],
    ['inet_interfaces = 127.0.0.1, [::zz]', 30, 'error: inet_interfaces: "[::zz]" is no address and no host name; expected all, loopback-only, an address or a host name'],
    ['proxy_interfaces = 300.1.1.1', 20, 'error: proxy_interfaces: "300.1.1.1" is no address and no host name; expected an address or a host name'],
    ['default_transport = smtp:[mx.test', 21, 'error: default_transport: "smtp:[mx.test" has a bracket without its partner; expected transport:[host]:port'],
    ['smtpd_sasl_type = cyrus', 19, 'error: smtpd_sasl_type: "cyrus" is none of its values; expected one of dovecot, table'],
    ['virtual_alias_maps = /etc/x', 22, 'error: virtual_alias_maps: "/etc/x" is no table; expected type:name'],
    ['maximal_queue_lifetime = 101d', 26, 'error: maximal_queue_lifetime: "101d" is out of bounds; expected 0d to 100d'],
    ['backoff_plans = { a = 5m, 1h } { a 421 = 5x }', 42, 'error: backoff_plans: "5x" is no time; expected a number and s, m, h, d or w'],
    ['backoff_plans = { a = 5m } b', 28, 'error: backoff_plans: "b" is no plan; expected { NAME = TIME, … } or { NAME CLASS = TIME, … }'],
    ["backoff_plan_maps = inline:{a.test=slow, b.test=slwo, c.test=slwo, d.test=default}\nbackoff_plans = { slow = 5m } { default = 1m }", 21, 'warning: backoff_plan_maps: no plan "slwo"; expected one of backoff_plans, the default is used'],
    ['default_destination_rate_limit = 20', 34, 'error: default_destination_rate_limit: "20" is no rate; expected NUMBER/TIME as in 20/1s'],
    ['smtp_site_rate_limit = 0/1s', 24, 'error: smtp_site_rate_limit: "0" is no number before the /; expected 1 to 1000000'],
    ['default_destination_concurrency_positive_feedback = 1/concurency', 53, 'error: default_destination_concurrency_positive_feedback: "1/concurency" is no feedback; expected a number from 0 to 1, N/concurrency or N/sqrt_concurrency'],
    ['smtp_destination_concurrency_negative_feedback = 1.5', 50, 'error: smtp_destination_concurrency_negative_feedback: "1.5" is no feedback; expected a number from 0 to 1, N/concurrency or N/sqrt_concurrency'],
    ['message_size_limit = 10M', 22, 'error: message_size_limit: "10M" is no number; expected 0 or more'],
    ['message_size_limit =', 1, 'error: message_size_limit: "" is no number; expected 0 or more'],
    ['smtpd_timeout = 0', 17, 'error: smtpd_timeout: "0" is out of bounds; expected 1s or more'],
    ['smtpd_recipient_restrictions = check_client_access', 32, 'error: smtpd_recipient_restrictions: "check_client_access" without its argument; expected type:name'],
    ['smtpd_data_restrictions = static:x, reject', 27, qr/error: smtpd_data_restrictions: table "static:x" without a restriction; expected check_\S+_access before it/],
    ["transport_maps = texthash:$dir/nothing", 18, "error: transport_maps: $dir/nothing: No such file or directory; expected a readable file"],
    ["transport_maps = hash:$dir/nothing", 18, qq{error: transport_maps: $dir/nothing.db: No such file or directory; expected the file that "gatemap hash:$dir/nothing" makes}],
    ["transport_maps = texthash:$dir/folder", 18, "error: transport_maps: $dir/folder: not a plain file; expected a readable file"],
    ["relay_domains = a.test $dir/folder", 24, "error: relay_domains: $dir/folder: not a plain file; expected a readable file"],
    ['transport_maps = inline:{a=b, c}', 18, 'error: transport_maps: inline table, "c": no "=" behind a key; expected KEY=VALUE or { KEY = VALUE }'],
    ['transport_maps = inline:{a=b', 18, 'error: transport_maps: a brace without its partner; expected { … }'],
    ['transport_maps = cidr:{{10.0.0.1/8 x}}', 18, 'error: transport_maps: cidr:1: non-null host address bits in "10.0.0.1/8"; expected 10.0.0.0/8'],
    ['transport_maps = pcre:{{/(/ x}}', 18, 'error: transport_maps: pcre:1: error in the pattern at offset 1: missing closing parenthesis'],
    ['transport_maps = unix:shadow', 18, 'error: transport_maps: unknown table "unix:shadow"; expected unix:passwd.byname or unix:group.byname'],
    ['transport_maps = later:hsah:/x', 18, 'error: transport_maps: unknown table type "hsah"; expected "hash"'],
    ['mynetworks = 10.0.0.0/33', 14, 'error: mynetworks: bad network length in "10.0.0.0/33"; expected a number from 0 to 32'],
    ['mynetworks = 10.0.0.1/8', 14, 'error: mynetworks: non-null host address bits in "10.0.0.1/8"; expected 10.0.0.0/8'],
    ['mynetworks = 127.*.3.1', 14, q{error: mynetworks: bad address pattern "127.*.3.1"; expected '*' for whole parts at the end, as in 127.0.3.*}],
    ['transport_maps = hsah:/etc/x', 18, 'error: transport_maps: unknown table type "hsah"; expected "hash"'],
    ['transport_maps = unionmap:{static:x, hsah:/etc/x}', 18, 'error: transport_maps: unknown table type "hsah"; expected "hash"'],
    ['transport_maps = pipemap:{inline:{a=b}, texthash:/nonexistent/x}', 41, 'error: transport_maps: /nonexistent/x: No such file or directory; expected a readable file'],
    ['transport_maps = cdb:/etc/x', 18, qr/error: transport_maps: table type "cdb" is not supported; expected one of hash .*/],
    ['transport_maps = hash:', 18, 'error: transport_maps: "hash:" names no table; expected hash:name'],
    ['transport_maps = /etc/x', 18, 'error: transport_maps: "/etc/x" is no table; expected type:name'],
    ['smtpd_recipient_restrictions = permit_mynetwork, reject', 32, 'error: smtpd_recipient_restrictions: unknown restriction "permit_mynetwork"; expected "permit_mynetworks"'],
    ['smtpd_recipient_restrictions = { permit_mynetworks, reject', 32, 'error: smtpd_recipient_restrictions: a brace without its partner; expected { … }'],
    ['transport_maps = inline:{{a.test=smpt:[b.test]} {b.test=smpt} {c.test=:d.test} {d.test=smtp:} {e.test=error:no}}', 18, 'warning: transport_maps: no service "smpt"; expected one that master.cf lists, mail for it waits'],
    ['best_mx_transport = locla', 21, 'error: best_mx_transport: no service "locla"; expected "local"'],
    ['defer_transports = relay, smpt', 27, 'warning: defer_transports: no service "smpt"; expected "smtp", nothing waits by it'],
    ['relayhost = [a.test], [b.test', 23, 'error: relayhost: "[b.test" has a bracket without its partner; expected [host], [host]:port or a domain'],
    ['smtp_fallback_relay = a.test b.test]', 30, 'error: smtp_fallback_relay: "b.test]" has a bracket without its partner; expected [host], [host]:port or a domain'],
    (map { ["relay_sender = $_", 16, "error: relay_sender: \"$_\" is no address; expected user\@domain or nothing"] }
        'bounce@relay.test x', 'bounce', 'bounce@', '@relay.test', '<bounce@relay.test>', 'a..b@relay.test', '.a@relay.test',
        'a b@relay.test', '"a@relay.test', '"a"b"@relay.test', 'a@b@relay.test', 'a@relay..test', 'a@[relay.test]', 'a@1.2.3.4.5'),
    ['smtp_helo_name = mx relay.test', 18, 'error: smtp_helo_name: "mx relay.test" is no host name; expected one, or an address in brackets'],
    ['default_transport = smpt', 21, 'error: default_transport: no service "smpt"; expected "smtp"'],
    ['smtpd_relay_restrictions = permit', 28, 'error: smtpd_relay_restrictions and smtpd_recipient_restrictions let anybody relay; expected reject_unauth_destination, defer_unauth_destination, reject, defer or defer_if_permit in one of them'],
    ['smtpd_relay_restrictions = permit_mynetworks, warn_if_reject, reject', 28, qr/error: smtpd_relay_restrictions and smtpd_recipient_restrictions let anybody relay;.*/],
    ["smtpd_relay_restrictions = mine\nsmtpd_restriction_classes = mine\nmine = mine, mine", 28, qr/error: smtpd_relay_restrictions and smtpd_recipient_restrictions let anybody relay;.*/],
    ['smtpd_client_restrictions = sleep soon', 29, 'error: smtpd_client_restrictions: "soon" behind "sleep" is no number; expected seconds, 0 to 86400'],
    ['smtpd_data_restrictions = check_ccert_access { hsh:/x, { search_order = cert_fingerprint } }', 27, qr/error: smtpd_data_restrictions: unknown table type "hsh"; expected .*/],
    ["mine = permit_mynetworks, rejct\nsmtpd_restriction_classes = mine", 27, 'error: mine: unknown restriction "rejct"; expected "reject"'],
    ["mine = check_sender_access hash:/no/such\nsmtpd_restriction_classes = mine", 28, qr{error: smtpd_restriction_classes: /no/such.db: .*}],
    ['soft_bounce = $soft_bounce', 15, 'error: soft_bounce: a value that leads back to itself; expected one that ends'],
    ["soft_bounce = yes\nsoft_bounce = no", 1, 'warning: soft_bounce is set again; expected one setting, the one in line 3 is not used', 4],
    ['smtp_tls_protocols = >=TLSv1.2, !TLSv1.4', 33, 'error: smtp_tls_protocols: "!TLSv1.4" is no TLS protocol; expected names like TLSv1.2, !TLSv1.1, >=TLSv1.2 or <=TLSv1.3'],
    ['smtpd_tls_mandatory_protocols = TLS1.2', 33, 'error: smtpd_tls_mandatory_protocols: "TLS1.2" is no TLS protocol; expected names like TLSv1.2, !TLSv1.1, >=TLSv1.2 or <=TLSv1.3'],
    ['smtp_bind_address = ::1', 21, 'error: smtp_bind_address: "::1" is no IPv4 address; expected one or nothing'],
    ['lmtp_bind_address6 = mx.test', 22, 'error: lmtp_bind_address6: "mx.test" is no IPv6 address; expected one or nothing'],
    ['smtp_sasl_security_options = noanonymous, noplain', 43, 'error: smtp_sasl_security_options: "noplain" is none of its values; expected noplaintext, noanonymous, nodictionary, noactive, forward_secrecy or mutual_auth'],
    ['smtp_pix_workarounds = disable_smtp', 24, 'error: smtp_pix_workarounds: "disable_smtp" is none of its values; expected disable_esmtp or delay_dotcrlf'],
    ['smtp_sasl_auth_enable = yes', 25, 'error: smtp_sasl_auth_enable: there are no credentials to log in with; expected a table in smtp_sasl_password_maps'],
    ['smtp_tls_servername = a..b', 23, 'error: smtp_tls_servername: "a..b" is no host name; expected a host name, hostname, nexthop or nothing'],
    ["smtpd_tls_CAfile = $dir/nothing", 20, "error: smtpd_tls_CAfile: $dir/nothing: No such file or directory; expected a readable file"],
    ["smtpd_tls_CApath = /etc/passwd", 20, 'error: smtpd_tls_CApath: /etc/passwd: not a directory; expected a readable directory'],
    ["smtp_tls_CAfile = $dir", 19, "error: smtp_tls_CAfile: $dir: not a plain file; expected a readable file"],
    ["lmtp_tls_trust_anchor_file = /etc/passwd, $dir/nothing", 30, "error: lmtp_tls_trust_anchor_file: $dir/nothing: No such file or directory; expected a readable file"],
    ['smtp_tls_security_level = encyrpt', 27, 'error: smtp_tls_security_level: "encyrpt" is none of its values; expected one of none, may, encrypt, fingerprint, verify, secure, dane, dane-only or nothing'],
    ['postscreen_dnsbl_sites = zen.example', 1, 'warning: postscreen_dnsbl_sites is not supported; expected smtpd_dnsbl_sites, it has no effect'],
    ['postscreen_access_list = static:permit', 1, 'warning: postscreen_access_list is not supported; expected smtpd_greet_wait, smtpd_dnsbl_sites or smtpd_safe_clients, it has no effect'],
    ['smtpd_client_restrictions = reject_rbl_client permit_mynetworks, reject', 29, 'error: smtpd_client_restrictions: "reject_rbl_client" without its argument; expected a name'],
    ['smtpd_client_restrictions = permit, check_policy_service { inet:[::1]:1, timout=3s }', 37, qr/error: smtpd_client_restrictions: "timout=3s" is no attribute of a policy server; expected timeout=, .*/],
    ['smtpd_client_restrictions = check_policy_service { unix:x, { timeout = soon } }', 29, 'error: smtpd_client_restrictions: "soon" is no time; expected a number and s, m, h, d or w, 1s or more'],
    ["smtpd_restriction_classes = one, two\none = reject", 34, 'error: smtpd_restriction_classes: "two" has no list; expected two = restriction ...'],
    ['mynetworks = 127.0.0.1, tcp:127.0.0.1:9', 25, 'error: mynetworks: tcp:127.0.0.1:9 answers later; expected a table that answers at once'],
    ['smtpd_forbidden_commands = unionmap:{static:x, proxy:unix:passwd.byname}', 48, 'error: smtpd_forbidden_commands: unix:passwd.byname answers later; expected a table that answers at once'],
    ['smtp_dns_resolver_options = res_defnames, res_debug', 43, 'error: smtp_dns_resolver_options: "res_debug" is no resolver option; expected res_defnames or res_dnsrch'],
    ['notify_classes = bounce, bounces', 26, 'error: notify_classes: "bounces" is no class of notices; expected bounce, 2bounce, data, delay, policy, protocol, resource or software'],
    ['default_verp_delimiters = +', 27, 'error: default_verp_delimiters: "+" is no pair of delimiters; expected two characters such as +='],
    ['tls_dane_digests = sha512 sha256=2', 27, 'error: tls_dane_digests: "sha256=2" is no digest of TLSA records; expected sha256 or sha512'],
    ['dnssec_probe = ns', 16, 'error: dnssec_probe: "ns" is no question; expected TYPE:NAME or nothing'],
    ['smtp_dns_support_level = dnsec', 26, 'error: smtp_dns_support_level: "dnsec" is none of its values; expected one of disabled, enabled, dnssec or nothing'],
    ['smtp_tls_security_level = dane', 27, 'warning: smtp_tls_security_level = dane without validated answers of name servers; expected smtp_dns_support_level = dnssec, mail waits'],
    ['smtp_tls_per_site = static:may', 1, 'warning: smtp_tls_per_site is not supported; expected another, it has no effect'],
);

# A table's source, type, its line, what is said.
my @sources = (
    ['texthash', " a b\n", 1, 'line begins with a blank, but continues nothing; expected a key'],
    ['texthash', "a b\nc\0 d\n", 2, 'NUL byte; expected text'],
    ['texthash', 'x' x 300_000, 1, 'line too long; expected at most 69632 bytes'],
    ['cidr', "10.0.0.0/8 fine\n10.0.0.0/33 x\n", 2, 'bad network length in "10.0.0.0/33"; expected a number from 0 to 32'],
    ['cidr', "10.0.0.0/8\n", 1, 'no result; expected "NETWORK RESULT"'],
    ['cidr', "x y\n", 1, 'bad address "x"; expected an IPv4 or IPv6 address or network'],
    ['cidr', "if 10.0.0.0/8\n", 1, 'if without endif; expected one behind it'],
    ['pcre', "/a x\n", 1, q{pattern "/a x" does not end; expected another '/'}],
    ['pcre', "/a/ x\n/b/z y\n", 2, 'unknown flag "z"; expected i, m, s, x, A, E, U or X'],
    ['pcre', "/a/\n", 1, 'no result; expected "/PATTERN/FLAGS RESULT"'],
    ['pcre', "/(/ x\n", 1, 'error in the pattern at offset 1: missing closing parenthesis'],
);

# Text of master.cf, line and column, what is said.
my @master = (
    ["2525 inet n - n - -\n", 1, 1, 'error: too few columns; expected name, type, private, unprivileged, chroot, wakeup, maxproc and command'],
    ["2525\n", 1, 1, 'error: too few columns; expected name, type, private, unprivileged, chroot, wakeup, maxproc and command'],
    ["2525 tcp n - n - - smtpd\n", 1, 6, 'error: service type "tcp"; expected inet, unix, fifo, pass or unix-dgram'],
    ["2525 inet x - n - - smtpd\n", 1, 11, 'error: private is "x"; expected y, n or -'],
    ["2525 inet n - n 1x - smtpd\n", 1, 17, 'error: wakeup time is "1x"; expected seconds or -'],
    ["2525 inet n - n - many smtpd\n", 1, 19, 'error: process limit is "many"; expected a number or -'],
    ["2525 inet n - n - - smptd\n", 1, 21, 'error: unknown command "smptd"; expected "smtpd"'],
    ["2525 inet n - n - - smtpd -z\n", 1, 27, 'error: option "-z"; expected -o name=value or -v'],
    ["2525 inet n - n - - smtpd -o\n", 1, 27, 'error: -o at the end; expected name=value behind it'],
    ["2525 inet n - n - - smtpd -o foo\n", 1, 30, 'error: "foo" behind -o; expected name=value'],
    ["2525 inet n - n - - smtpd\n -o smtpd_baner=x\n", 2, 5, 'error: unknown parameter "smtpd_baner"; expected "smtpd_banner"'],
    ["2525 inet n - n - - smtpd -o smtpd_timeout=soon\n", 1, 44, qr/error: smtpd_timeout: "soon" is no time; expected .*/],
    ["2525 inet n - n - - smtpd -o { smtpd_helo_restrictions = permit_mynetworks, rejet }\n", 1, 77, 'error: smtpd_helo_restrictions: unknown restriction "rejet"; expected "reject"'],
    ["99999 inet n - n - - smtpd\n", 1, 1, 'error: "99999" is no address; expected a port or host:port'],
    ["$port$port", 2, 1, 'error: service 2525/inet is listed again; expected it once, it stands in line 1'],
    ["${port}qmgr unix n - n - 1 qmgr\nsecond unix n - n - 1 qmgr\n", 3, 1, 'error: second/unix is a second qmgr; expected one, it stands in line 2'],
    ["${port}x unix n - n - - tally\ny unix n - n - - tally\n", 3, 1, 'error: y/unix is a second tally; expected one, it stands in line 2'],
    ["1.2.3.4.5:25 inet n - n - - smtpd\n", 1, 1, 'error: "1.2.3.4.5" is no address and no host name; expected a port or host:port'],
    ["${port}a/b unix n - n - - smtp\n", 2, 1, 'error: "a/b" is no name of a socket; expected one without "/"'],
    ["2525 inet n - n - - qmgr\n", 1, 1, 'error: qmgr does not serve a port; expected type unix'],
    ["2525 inet n - n - -1 smtpd\n", 1, 19, 'error: process limit is "-1"; expected a number or -'],
    ["2525 inet n - n - - smtpd }\n", 1, 27, 'error: argument "}"; expected -o { name = value } where blanks belong to the value'],
    ["2525 inet n - n - - smtpd -o { smtpd_banner = x\n", 1, 30, 'error: "{ smtpd_banner = x" behind -o; expected name=value'],
    ["2525 inet n - n - - smtpd -o default_transport=smpt\n", 1, 48, 'error: default_transport: no service "smpt"; expected "smtp"'],
    ["2525 inet n - n - - smtpd -o inet_protocols=ipv5\n", 1, 45, 'error: inet_protocols: "ipv5" is none of its values; expected all, ipv4 or ipv6'],
    ["  -o a=b\n$port", 1, 1, q{error: the first line begins with a blank; expected a service's name}],
    ["${port}smtp inet n - y - 1 postscreen\n", 2, 21, 'warning: command "postscreen" is not supported; expected smtpd, which does its work, the service is not started'],
    ["${port}p unix - n n - - pipe\n", 2, 18, 'warning: command "pipe" is not supported; expected another, the service is not started'],
);

sub said {
    my ($main, $master, $place, $text, $name) = @_;
    spew("$dir/main.cf",
        "alias_maps =\ndaemon_directory = " . build() . "/libexec\n$main\n");
    spew("$dir/master.cf", $master);
    my ($status, $out) = run_out(build() . '/sbin/gatepost', '-c', $dir, 'check');
    $text = ref $text ? $text : qr/\Q$text\E/;
    like($out, qr/\A\Q$dir\/$place\E: $text\n\z/, $name);
    is($status, $out =~ /error:/ ? 1 : 0, "$name: status");
}

run_out(src() . '/t/lib/make-users') if $> == 0;
said($_->[0], $port, 'main.cf:' . ($_->[3] // 3) . ":$_->[1]", $_->[2], $_->[0]) for @main;
said('', $_->[0], "master.cf:$_->[1]:$_->[2]", $_->[3], $_->[0] =~ s/\n/;/gr) for @master;
for (@sources) {
    my ($type, $source, $line, $text) = @$_;
    spew("$dir/source", $source);
    said("transport_maps = $type:$dir/source", $port, 'main.cf:3:18',
        "error: transport_maps: $dir/source:$line: $text", "$type: $text");
}
# Addresses that are good.
for my $good ('', 'bounce+x=y@relay.test', '"a.b c"@relay.test', "\xc3\xa9\@ex\xc3\xa4mple.test", 'a@[127.0.0.1]') {
    spew("$dir/main.cf", "alias_maps =\ndaemon_directory = " . build() . "/libexec\nrelay_sender = $good\n");
    spew("$dir/master.cf", $port);
    is_deeply([run_out(build() . '/sbin/gatepost', '-c', $dir, 'check')], [0, ''], "relay_sender = $good");
}
# bounce_template_file: its path, and its inside.
said('bounce_template_file = bounce.cf', $port, 'main.cf:3:24',
    'error: bounce_template_file: "bounce.cf" is no path from the root; expected /...', 'a path from somewhere');
said("bounce_template_file = $dir/nothing", $port, 'main.cf:3:24',
    "error: bounce_template_file: $dir/nothing: No such file or directory; expected a readable file", 'no file');
for (["failure_template = <<E\nX: y\nE\n", '2:1', 'error: "X" is no header of a template; expected Charset, From, Subject or Postmaster-Subject'],
    ["#\nfail_template = x\n", '2:1', 'error: unknown template "fail_template"; expected failure_template, delay_template, success_template or verify_template'],
    ["delay_template = <<E\n\n  \$myhostnam\nE\n", '3:4', 'error: "$myhostnam" is not defined; expected a parameter'],
    ["delay_template = <<E\n\n\$maximal_queue_lifetime_weeks\nE\n", '3:2', 'warning: "$maximal_queue_lifetime_weeks" is 0; expected a smaller unit']) {
    my ($text, $place, $want) = @$_;
    spew("$dir/bounce", $text);
    said("bounce_template_file = $dir/bounce", $port, "bounce:$place", $want, $want);
}
spew("$dir/main.cf", "alias_maps =\nmyhostname = a\0b\n");
like((run_out(build() . '/sbin/gatepost', '-c', $dir, 'check'))[1],
    qr/\A\S+main\.cf:2:15: error: a NUL character; expected a text file\n\z/, 'a NUL character');
spew("$dir/main.cf", 'x' x 5_000_000);
like((run_out(build() . '/sbin/gatepost', '-c', $dir, 'check'))[1],
    qr/\A\S+main\.cf: error: longer than \d+ bytes; expected a text file\n\z/, 'an endless line');
done_testing;
