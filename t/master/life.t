#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# master and gatepost with workers that only greet: start, stop, reload, services, deaths (rows A1 to
# A6, A8, L1, L4).
use strict;
use warnings;
use File::Copy 'copy';
use Gatepost::Instance;
use Gatepost::Kit;
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::UNIX;
use Test::More;

my $build = build();
my $libexec = tempdir('libexec');
# Copies, since a process is known by the name of its file.
for my $program (qw(smtpd cleanup qmgr smtp-client local virtual resolver tally nss)) {
    copy("$build/t/master/fakeworker", "$libexec/$program") or die "copy: $!";
    chmod 0755, "$libexec/$program";
}
symlink "$build/master/master", "$libexec/master";

sub instance {
    my (%arg) = @_;
    return Gatepost::Instance->new(
        %arg, main => { daemon_directory => $libexec, smtpd_banner => 'one', %{ $arg{main} // {} } });
}

# The greeting at a port, or nothing where it is refused.
sub greeting {
    my ($port, $addr) = @_;
    my $s = IO::Socket::IP->new(PeerHost => $addr // '127.0.0.1', PeerPort => $port, Timeout => 30)
        or return;
    local $SIG{ALRM} = sub { die "no greeting within 30 s\n" };
    alarm 30;
    my $line = <$s>;
    alarm 0;
    return wantarray ? ($line, $s) : $line;
}

sub ask {
    my ($s, $text) = @_;
    print $s "$text\n";
    my $line = <$s> // '';
    return $line =~ s/\r?\n//r;
}

sub pids { map { @$_ } values %{ $_[0]->roles } }

# ---- start, status, stop ----
my $gp = instance();
my ($status, $out) = $gp->tool('gatepost', 'status');
is($status, 3, 'status of a stopped one');
like($out, qr/^gatepost: stopped$/m, 'which says so');
is(($gp->tool('gatepost', 'stop'))[0], 0, 'stop of a stopped one succeeds');
$gp->start;
like(greeting($gp->port), qr/^220 one pid \d+ uid (\d+)/, 'A1: it greets as soon as start is done');
is(($gp->try_start)[0], 1, 'start of a running one fails');
($status, $out) = $gp->tool('gatepost', 'status');
is($status, 0, 'L4: status of a running one');
like($out, qr/\Agatepost: running, pid \d+, since [^,]+, generation 1$/m, 'first line');
like($out, qr/^$gp->{port} +inet +running +\d+ +\d+ +127\.0\.0\.1:$gp->{port}$/m, 'row of a service');
my @json = split /\n/, ($gp->tool('gatepost', '--json', 'status'))[1];
like(shift @json, qr/\A\{"state": "running", "pid": \d+, "since": \d+, "generation": 1\}\z/, '--json: an object');
is((grep { /\A\{"service": "$gp->{port}", "type": "inet", "state": "running", "workers": \d+, "sessions": \d+, "addresses": \["127\.0\.0\.1:$gp->{port}"\]\}\z/ } @json),
    1, 'a service a line');
my ($workers) = $out =~ /^$gp->{port} +inet +running +(\d+)/m;
my $cores = () = (slurp('/proc/cpuinfo') // '') =~ /^processor/mg;
cmp_ok($workers, '>=', $cores, 'A8: at least as many workers as cores');
my %user = map { my ($role) = $_; my @p = @{ $gp->roles->{$role} // [] };
    $role => @p ? (stat "/proc/$p[0]")[4] : undef } qw(smtpd qmgr tally);
SKIP: {
    skip 'needs root', 2 if $>;
    is($user{smtpd}, scalar getpwnam('gp-smtpd'), 'smtpd has its own user');
    my @p = @{ $gp->roles->{smtpd} };
    like(slurp("/proc/$p[0]/status"), qr/^NoNewPrivs:\t1$/m, 'and no new privileges');
}
my @before = pids($gp);
# Another command may ask meanwhile; one that does not end its frame is nobody's hindrance.
my $stuck = IO::Socket::UNIX->new(Peer => $gp->queue . '/pid/master.sock');
ok($stuck, 'somebody connects to the control socket and is silent');
is(($gp->tool('gatepost', 'status'))[0], 0, 'others are answered');
print $stuck 'x' x 100;
$stuck->flush;
is(($gp->tool('gatepost', 'status'))[0], 0, 'garbage there ends that connection alone');
$gp->stop;
ok(!(grep { is_alive($_) } @before), 'A6: after stop no process is left');
ok(!greeting($gp->port), 'and the port refuses');

# ---- several ports, -o, addresses, names, protocols ----
my ($p2, $p3, $p4) = map { free_port() } 1 .. 3;
$gp = instance(
    main => { inet_interfaces => '127.0.0.2' },
    master => [
        "127.0.0.1:$p2 inet n - n - - smtpd -o smtpd_banner=two",
        "localhost:$p3 inet n - n - - smtpd\n  -o { smtpd_banner = three four }",
        "$p4 inet n - n - - smtpd",
    ]);
$gp->set(master_service_disable => "$p4/inet");
$gp->start;
ok(!greeting($gp->port), 'A4: an address that is not listed refuses');
like(greeting($gp->port, '127.0.0.2'), qr/^220 one /, 'the one that is listed answers');
like(greeting($p2), qr/^220 two /, 'A3: a port with a setting of its own');
like(greeting($p3), qr/^220 three four /, 'A4: a port at a name');
ok(!greeting($p4, '127.0.0.2'), 'A2: a disabled port refuses');
ok(!greeting($p3, '::1'), 'A5: inet_protocols = ipv4 leaves ::1 out');
SKIP: {
    skip 'no IPv6 here', 1 if !IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1);
    $gp->set(inet_protocols => 'all', inet_interfaces => '127.0.0.2, [::1]');
    $gp->reload;
    like(greeting($gp->port, '::1'), qr/^220 one /, 'A5: inet_protocols = all takes it in');
}

# ---- reload ----
my ($line, $old) = greeting($p2);
$gp->set(smtpd_banner => 'new');
$gp->mark;
$gp->reload;
like(greeting($gp->port, '127.0.0.2'), qr/^220 new /, 'L1: a reload brings the new value');
is(ask($old, 'x'), 'none', 'and a session from before goes on');
is(ask($old, 'y'), 'none', 'to its own end');
my ($generation) = ($gp->tool('gatepost', 'status'))[1] =~ /generation (\d+)/;
$gp->set(smtpd_timeout => 'soon', smtpd_banner => 'bad');
($status, $out) = $gp->tool('gatepost', 'reload');
is($status, 1, 'a reload with a mistake is refused');
like($out, qr{main\.cf:\d+:\d+: error: smtpd_timeout: "soon" is no time; expected }, 'with its line');
kill 'HUP', $gp->master_pid;
$gp->wait_log(qr/error: reload: nothing is changed/, 'by signal too');
like(greeting($gp->port, '127.0.0.2'), qr/^220 new /, 'nothing has changed');
is((($gp->tool('gatepost', 'status'))[1] =~ /generation (\d+)/)[0], $generation, 'nor the generation');
$gp->set(smtpd_timeout => undef, smtpd_banner => 'worse');
$gp->mark;
spew($gp->queue . '/fake.conf', "smtpd die\n");
($status, $out) = $gp->tool('gatepost', 'reload');
is($status, 1, 'a generation that does not start fails the reload');
$gp->wait_log(qr/generation \d+ does not start and is dropped; generation \d+ goes on/, 'log says it');
like(greeting($gp->port, '127.0.0.2'), qr/^220 new /, 'the old generation serves');
unlink $gp->queue . '/fake.conf';
$gp->reload;
like(greeting($gp->port, '127.0.0.2'), qr/^220 worse /, 'until one does start');

# One of before that has not heard yet might still take a client.
my ($slow) = scalar(greeting($gp->port, '127.0.0.2')) =~ / pid (\d+)/;
my $said = $gp->{dir} . '/reload.out';
kill 'STOP', $slow;
$gp->set(smtpd_banner => 'last');
my $reload = spawn({ out => $said }, "$build/sbin/gatepost", '-c', $gp->dir, 'reload');
ok(wait_until(20, sub { (greeting($gp->port, '127.0.0.2') // '') =~ /^220 last / }), 'the next generation serves');
$gp->tool('gatepost', 'status') for 1 .. 20;
ok(is_alive($reload), 'reload waits for the last one of before');
kill 'CONT', $slow;
waitpid $reload, 0;
is($?, 0, 'until it accepts no more') or diag slurp($said);

my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1);
my @lines = @{ $gp->{services} };
push @{ $gp->{services} }, '127.0.0.1:' . $taken->sockport . ' inet n - n - - smtpd';
$gp->write_config;
($status, $out) = $gp->tool('gatepost', 'reload');
is($status, 1, 'a reload with a port that somebody has fails');
like($out, qr/cannot listen on 127\.0\.0\.1:@{[ $taken->sockport ]}: Address already in use/, 'and names it');
$gp->{services} = \@lines;
$gp->write_config;
$gp->reload;
like(greeting($p2), qr/^220 two /, 'the next one finds all others free');

# ---- generations ----
$gp->set(generation_limit => 1);
$gp->reload;
my @open;
for my $n (1 .. 3) {
    $gp->set(smtpd_banner => "generation$n");
    $gp->reload;
    push @open, (greeting($gp->port, '127.0.0.2'))[1];
}
ok(!defined readline($open[0]), 'generation_limit: the oldest generation ends its sessions');
is(ask($open[1], 'x'), 'none', 'the one before lives');
is(ask($open[2], 'x'), 'none', 'so does the newest');
@open = ();
$gp->set(smtpd_banner => 'worse');
$gp->reload;

# ---- a port that moves ----
my $p5 = free_port();
my $stays = (greeting($p2))[1];
my @services = @{ $gp->{services} };
s/^127\.0\.0\.1:$p2 /127.0.0.1:$p5 / for @{ $gp->{services} };
$gp->write_config;
$gp->reload;
ok(!greeting($p2), 'a port that has moved refuses at once');
like(greeting($p5), qr/^220 two /, 'the new one serves');
is(ask($stays, 'x'), 'none', 'a session from before goes on');
@{ $gp->{services} } = @services;
$gp->write_config;
$gp->reload;
like(greeting($p2), qr/^220 two /, 'and back');
ok(!greeting($p5), 'again at once');
close $stays;

# ---- a replaced table ----
spew("$gp->{dir}/table", "key one\n");
my @build = (build() . '/sbin/gatemap', "hash:$gp->{dir}/table");
is((run_out(@build))[0], 0, 'a table');
$gp->set(transport_maps => "hash:$gp->{dir}/table");
$gp->reload;
# A worker of before may take one more client before it reads that it is to take none.
my $asker;
ok(wait_until(10, sub { $asker = (greeting($gp->port, '127.0.0.2'))[1]; ask($asker, 'key') eq 'found one' }),
    'is looked up through the descriptor from master');
spew("$gp->{dir}/table", "key two\n");
run_out(@build);
ok(wait_until(30, sub { ask($asker, 'key') eq 'found two' }), 'a new version reaches a living session');
$gp->set(transport_maps => undef);
$gp->reload;

# ---- a service by itself ----
my $name = $gp->port;
is(($gp->tool('gatepost', 'service', $name, 'stop'))[0], 0, 'A6: service stop');
ok(!greeting($gp->port, '127.0.0.2'), 'its port refuses');
is(($gp->tool('gatepost', 'service', $name, 'status'))[0], 3, 'its status says stopped');
is(($gp->tool('gatepost', 'status'))[0], 1, 'the status of the whole too');
like(greeting($p2), qr/^220 two /, 'others go on');
$gp->reload;
ok(!greeting($gp->port, '127.0.0.2'), 'a reload does not start it');
is(($gp->tool('gatepost', 'service', "$name/inet", 'start'))[0], 0, 'service start');
like(greeting($gp->port, '127.0.0.2'), qr/^220 worse /, 'and it serves');
is(($gp->tool('gatepost', 'service', $name, 'status'))[0], 0, 'its status says running');
my ($qmgr) = @{ $gp->roles->{qmgr} };
is(($gp->tool('gatepost', 'service', 'qmgr', 'restart'))[0], 0, 'service restart of qmgr');
isnt($gp->roles->{qmgr}[0], $qmgr, 'makes another process');
$gp->set(smtpd_banner => 'fresh');
is(($gp->tool('gatepost', 'service', $name, 'restart'))[0], 0, 'service restart');
like(greeting($gp->port, '127.0.0.2'), qr/^220 fresh /, 'takes its settings afresh');
like(greeting($p3), qr/^220 three four /, 'no others');
is(($gp->tool('gatepost', 'service', 'nothing', 'status'))[0], 1, 'no such service');

# ---- deaths ----
$gp->mark;
my $dead = $gp->kill_role('smtpd');
$gp->wait_log(qr/warning: process \S+smtpd pid $dead killed by signal 9/, 'a death is logged');
ok(wait_until(30, sub { scalar @{ $gp->roles->{smtpd} // [] } }), 'and made good');
like(greeting($gp->port, '127.0.0.2'), qr/^220 fresh /, 'at once');
$gp->mark;
spew($gp->queue . '/fake.conf', "resolver die\n");
$gp->kill_role('resolver');
$gp->wait_log(qr/service resolver\/unix: does not become ready -- started again in 1 s/, 'back-off: 1 s');
$gp->wait_log(qr/service resolver\/unix: does not become ready -- started again in 2 s/, 'back-off: 2 s');
unlink $gp->queue . '/fake.conf';
ok(wait_until(30, sub { @{ $gp->roles->{resolver} // [] } == 1 }), 'until it becomes ready');

# ---- workers that misbehave ----
$gp->mark;
spew($gp->queue . '/fake.conf', "smtp nosy\nlocal garbage\n");
kill_at_once(@{ $gp->roles->{'smtp-client'} });
for my $name ('unix:pid/master.sock', 'unix:public/../pid/master.sock', 'unix:public/qmgr',
    'inet:127.0.0.1:25', '/etc/shadow') {
    $gp->wait_log(qr{smtp\[\d+\]: connection to \Q$name\E: (?:Permission denied|Invalid argument)},
        "$name is refused");
}
$gp->wait_log(qr{smtp\[\d+\]: connection to unix:/run/gatepost-test-of-master: No such file},
    'a next hop below unix_nexthop_directories is tried');
$gp->wait_log(qr{warning: service smtp/unix asks for inet:127.0.0.1:25, which no parameter names},
    'a refusal is logged');
my ($local) = @{ $gp->roles->{local} };
$gp->mark;
kill 'KILL', $local;
$gp->wait_log(qr{process \S+/local pid \d+ killed by signal 9}, 'one that breaks the protocol is killed');
unlink $gp->queue . '/fake.conf';
ok(wait_until(60, sub { ($gp->tool('gatepost', 'service', 'local', 'status'))[0] == 0 }),
    'and its service comes back');

# More than 20 deaths a minute: back-off, though each had been ready.
$gp->mark;
for my $n (1 .. 100) {
    last if $gp->log_lines(qr/service tally\/unix: dies too often/);
    my $pid = wait_until(5, sub { ($gp->roles->{tally} // [])->[0] }) or last;
    my $ready = $gp->log_lines(qr/tally\[$pid\]: start tally/)
        || wait_until(5, sub { $gp->log_lines(qr/tally\[$pid\]: start tally/) });
    kill 'KILL', $pid;
    wait_until(5, sub { !is_alive($pid) });
}
$gp->wait_log(qr/service tally\/unix: dies too often -- started again in \d+ s/, 'dies too often');
ok(wait_until(60, sub { @{ $gp->roles->{tally} // [] } == 1 }), 'and is there again after a while');

# ---- a dead master ----
@before = grep { $_ != $gp->{master} } pids($gp);
$gp->kill_role('master');
$gp->start;
ok(!(grep { is_alive($_) } @before), 'a start after its death waits for the old processes');
like(greeting($p2), qr/^220 two /, 'and serves');
$gp->restart;
like(greeting($p2), qr/^220 two /, 'restart');

# ---- the log ----
$gp->mark;
rename $gp->{log}, "$gp->{log}.1";
is(($gp->tool('gatepost', 'reload'))[0], 0, 'reload without a log file');
$gp->set(maillog_file_compressor => '/bin/true');
spew($gp->{log}, '');
is(($gp->tool('gatepost', 'logrotate'))[0], 0, 'logrotate');
greeting($p2);
$gp->mark;
$gp->reload;
$gp->wait_log(qr/reload -- version/, 'goes on in a new file');

# ---- a taken port ----
$gp->stop;
my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $p2, Listen => 1, ReuseAddr => 1);
ok($holder, 'somebody takes the port');
($status, $out) = $gp->try_start;
is($status, 1, 'start fails');
like($out, qr/cannot listen on 127\.0\.0\.1:$p2: Address already in use/, 'naming the port');
like($out, qr/port $p2 is held by pid $$ /, 'and the holder');
is(($gp->tool('gatepost', 'status'))[0], 3, 'nothing is left running');
close $holder;
$gp->start;
$gp->stop;

# ---- in the foreground ----
$gp->set(maillog_file => '/dev/stdout');
my $fg = spawn({ out => "$gp->{dir}/fg" }, "$build/sbin/gatepost", '-c', $gp->dir, 'start-fg');
ok(wait_until(10, sub { greeting($p2) }), 'start-fg serves');
ok(wait_until(10, sub { slurp("$gp->{dir}/fg") =~ /gatepost\/master\[$fg\]: daemon started/ }), 'the log goes to its output');
is(($gp->tool('gatepost', 'stop'))[0], 0, 'stop ends it');
waitpid $fg, 0;
is($?, 0, 'with status 0');
spew($gp->queue . '/fake.conf', "cleanup die\n");
$fg = spawn({ out => "$gp->{dir}/fg" }, "$build/sbin/gatepost", '-c', $gp->dir, 'start-fg');
ok(wait_until(10, sub { ($gp->tool('gatepost', 'status'))[1] =~ m{service cleanup/unix is not running} }),
    'start-fg with a service that does not start goes on, and status names it');
is(($gp->tool('gatepost', 'status'))[0], 1, 'L4: running, but a service is not: 1');
unlink $gp->queue . '/fake.conf';
ok(wait_until(20, sub { greeting($p2) }), 'it is tried again until it does');
is(($gp->tool('gatepost', 'stop'))[0], 0, 'stop');
waitpid $fg, 0;
$gp->set(maillog_file => $gp->{log});

# ---- a worker that cannot start ----
spew($gp->queue . '/fake.conf', "cleanup die\n");
($status, $out) = $gp->try_start;
is($status, 1, 'start fails without cleanup');
like($out, qr{cleanup/unix does not start}, 'and names it');
is(($gp->tool('gatepost', 'status'))[0], 3, 'nothing is left running');
done_testing;
