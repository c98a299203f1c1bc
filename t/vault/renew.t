#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Keys and chains in a running instance: files that only root can read, replaced while sessions are
# open and handshakes go on; broken ones; reload; a vault that dies.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Vault;
use IPC::Open2;
use Test::More;
use Time::HiRes qw(time);

need('openssl');
my $dir = tempdir('renew');
mkdir "$dir/private", 0700;
my %pair = map { $_ => pair("$dir/private/$_", 'p256', name => "$_.test") } qw(old new next port sni rsa);
my ($chain, $cert, $key) = map {"$dir/private/$_.pem"} qw(chain in-cert in-key);
my $use = sub { spew($_[0], slurp($_[1])); chmod 0600, $_[0] };
$use->($chain, $pair{old}{chain});
$use->($cert, $pair{port}{cert});
$use->($key, $pair{port}{key});
my $port = free_port();
my $gp = Gatepost::Instance->new(
    main => { smtpd_tls_chain_files => $chain, smtpd_tls_security_level => 'may', smtpd_client_connection_rate_limit => 0,
        tls_server_sni_maps => "hash:$dir/names" },
    master => ["$port inet n - n - - smtpd -o smtpd_tls_chain_files= -o smtpd_tls_cert_file=$cert -o smtpd_tls_key_file=$key"],
);
my $build_names = sub {
    spew("$dir/names", "sni.test $pair{ $_[0] }{chain}\n");
    is(($gp->tool('gatemap', '-F', "hash:$dir/names"))[0], 0, 'gatemap -F');
};
$build_names->('sni');
$gp->start;

# The name in the certificate that a client gets; nothing when the handshake fails.
sub served {
    my ($to, $name) = @_;
    my ($status, $out) = run_out('/bin/sh', '-c', 'echo QUIT | timeout 60 openssl s_client -starttls smtp -connect "$@" 2>&1',
        'sh', "127.0.0.1:$to", $name ? ('-servername', $name) : '-noservername');
    return '' if $out !~ /^New, TLS/m;
    return $out =~ /^subject=CN = (\S+)/m ? $1 : '';
}
# A session to be resumed, in FILE; whether that one is.
sub handshake {
    my (@args) = @_;
    # Not ended by the letter Q, but by the server: the ticket comes with its first reply.
    my ($status, $out) = run_out('/bin/sh', '-c', 'echo QUIT | timeout 60 openssl s_client -starttls smtp -noservername -nocommands -ign_eof "$@" 2>&1',
        'sh', '-connect', '127.0.0.1:' . $gp->port, @args);
    return $out =~ /^(New|Reused), TLS/m ? $1 : "nothing: $out";
}
# A worker that has asked for the chain of a name keeps it for a minute.
sub becomes { my ($port, $want, $name) = @_; return wait_until($name ? 80 : 20, sub { served($port, $name) eq $want }) }

# A session in TLS that stays open.
sub tls_session {
    my ($to) = @_;
    my $pid = open2(my $out, my $in, '/bin/sh', '-c', 'exec "$@" 2>/dev/null', 'sh', 'openssl', 's_client', '-quiet', '-starttls', 'smtp', '-noservername', '-connect', "127.0.0.1:$to");
    Gatepost::Kit::adopt($pid);
    $in->autoflush(1);
    my $s = { in => $in, out => $out, pid => $pid };
    talks($s) or return;
    return $s;
}
sub talks {
    my ($s) = @_;
    print { $s->{in} } "NOOP\r\n";
    while (defined(my $line = readline $s->{out})) { return 1 if $line =~ /^250 2\.0\.0 Ok/ }
    return 0;
}

is(served($gp->port), 'old.test', 'files for root alone are used');
is(served($port), 'port.test', 'certificate and key of a port of its own');
is(served($gp->port, 'sni.test'), 'sni.test', 'the chain of a name');
is(served($gp->port, 'other.test'), 'old.test', 'another name has the usual one');
my $open = tls_session($gp->port);
ok($open, 'a session that stays open');

# ---- a renewed file ----

my $began = time;
$use->($chain, $pair{new}{chain});
ok(becomes($gp->port, 'new.test'), 'a renewed file takes effect by itself');
cmp_ok(time - $began, '<', 60, 'within a minute');
ok(talks($open), 'the open session goes on');
is(served($port), 'port.test', 'others are as before');
my $hold = pair("$dir/private/p2", 'p256', name => 'p2.test');
$use->($key, $hold->{key});
$use->($cert, $hold->{cert});
ok(becomes($port, 'p2.test'), 'key and certificate one behind the other');
ok(!$gp->log_lines(qr/in-cert\.pem: .*does not belong/), 'without a complaint');
$build_names->('next');
ok(becomes($gp->port, 'next.test', 'sni.test'), 'a rebuilt table of names');

# ---- a broken file ----

$gp->mark;
spew($chain, slurp($pair{new}{key}) . slurp($pair{old}{cert}));
$gp->wait_log(qr/error: \Q$chain\E: the certificate does not belong to the key; .*the certificate in force stays/,
    'a pair that does not match is reported');
is(served($gp->port), 'new.test', 'what was in force stays');
$gp->mark;
is(($gp->tool('gatepost', 'reload'))[0], 1, 'gatepost reload fails');
$gp->wait_log(qr/fatal: \Q$chain\E: the certificate does not belong.*what is in force stays/, 'at a reload, too');
$gp->wait_log(qr/service vault\/unix: generation \d+ does not start and is dropped/, 'which is dropped for vault');
is(served($gp->port), 'new.test', 'what was in force stays');
ok(talks($open), 'the open session goes on');

# ---- reload ----

$use->($chain, $pair{next}{chain});
$gp->reload;
ok(becomes($gp->port, 'next.test'), 'a good one is there at once behind a reload');

# ---- vaults that die ----

is(handshake('-sess_out', "$dir/ticket"), 'New', 'a session');
is(handshake('-sess_in', "$dir/ticket"), 'Reused', 'is resumed');
for my $round (1 .. 2) {
    $gp->kill_role('vault');
    is(served($gp->port), 'next.test', 'a vault dies: others sign');
}
kill 'KILL', @{ $gp->roles->{vault} };
ok(becomes($gp->port, 'next.test'), 'all die: new ones sign');
is(handshake('-sess_in', "$dir/ticket"), 'Reused', 'what was given before is resumed');
is(handshake('-sess_out', "$dir/ticket"), 'New', 'a session of after it');
is(handshake('-sess_in', "$dir/ticket"), 'Reused', 'is resumed, too');
ok(talks($open), 'the open session goes on');

# ---- handshakes all the time ----

my @clients;
for my $n (1 .. 2) {
    push @clients, spawn({ out => "$dir/loop.$n" }, '/bin/sh', '-c',
        'while [ ! -e "$1" ]; do echo QUIT | timeout 60 openssl s_client -starttls smtp -noservername -connect "$2" 2>&1 | grep -E "^New, |^subject=" | tr "\n" " "; echo .; done',
        'sh', "$dir/stop", '127.0.0.1:' . $gp->port);
}
for my $name (qw(old new next old)) {
    $use->($chain, $pair{$name}{chain});
    if ($name ne 'new') { $gp->reload }
    ok(becomes($gp->port, "$name.test"), "$name is in force");
}
# As many as are to be looked at, however slow they are.
wait_until(60, sub { 20 < map { split /\n/, slurp($_) // '' } glob "$dir/loop.*" });
spew("$dir/stop", '');
waitpid $_, 0 for @clients;
my @all = map { split /\n/, slurp("$dir/loop.$_") } 1 .. 2;
my @failed = grep { !/subject=CN = (?:old|new|next)\.test New, TLS|New, TLS.*subject=CN/ } @all;
cmp_ok(scalar @all, '>', 20, scalar(@all) . ' handshakes meanwhile');
is_deeply(\@failed, [], 'none failed');
done_testing();
