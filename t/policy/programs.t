#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Programs that are made for Postfix, from Debian's packages, with a running Gatepost: postgrey and
# policyd-rate-limit answer its policy requests, fail2ban's postfix filter finds who is to be banned in its
# log, and bans him.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sasl;
use Gatepost::Smtp;
use IO::Socket::INET;
use Test::More;

need('fail2ban-server', 'fail2ban-client', 'fail2ban-regex');
my $root = Gatepost::Peers::root_of('postfix');
my $dir = tempdir('programs');
my ($grey, $rate) = map { free_port() } 1, 2;

sub start_in_root {
    my ($port, @command) = @_;
    spawn({ out => "$dir/out.$port" }, 'chroot', $root, @command);
    ok(wait_until(20, sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }), "$command[0] runs")
        or diag slurp("$dir/out.$port");
}

mkdir "$dir/grey";
system 'chmod', '1777', $dir, "$dir/grey";
start_in_root($grey, 'postgrey', "--inet=127.0.0.1:$grey", '--delay=1', "--dbdir=$dir/grey", '--user=nobody', '--group=nogroup',
    '--auto-whitelist-clients=0', '--whitelist-clients=/dev/null', '--whitelist-recipients=/dev/null', '--hostname=grey.example');
spew("$dir/rate.yaml", <<"END");
debug: False
user: "nobody"
group: "nogroup"
pidfile: "$dir/rate.pid"
sqlite_config:
    database: "$dir/rate.sqlite"
backend: 0
SOCKET: ["127.0.0.1", $rate]
limits:
    - [2, 600]
limits_by_id: {}
limit_by_sasl: True
limit_by_sender: False
limit_by_ip: True
limited_networks: ["127.0.0.0/8"]
END
start_in_root($rate, 'policyd-rate-limit', '--file', "$dir/rate.yaml");

spew("$dir/pw", 'joe ' . crypt_record('secret') . "\n");
run_ok('password table', build() . '/sbin/gatemap', "hash:$dir/pw");
my %port = map { $_ => free_port() } qw(grey rate);
my $gp = Gatepost::Instance->new(
    main => {
        syslog_name => 'postfix', mydestination => 'local.test', local_recipient_maps => 'inline:{root=x}', local_transport => 'discard:',
        mynetworks => '127.0.0.1', smtpd_relay_restrictions => 'permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination',
        smtpd_recipient_restrictions => '', smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => "hash:$dir/pw",
        smtpd_helo_restrictions => 'reject_non_fqdn_helo_hostname', smtpd_sender_restrictions => 'check_sender_access inline:{{bad.test = REJECT}}',
        smtpd_client_restrictions => 'check_client_access inline:{{127.0.7.9 = REJECT}}', smtpd_error_sleep_time => 0, smtpd_hard_error_limit => 5,
        maillog_file_prefixes => '/tmp',
    },
    master => [
        "$port{grey} inet n - n - - smtpd -o { smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:$grey }",
        "$port{rate} inet n - n - - smtpd -o { smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:$rate }",
        'vault unix - - n - - vault',
    ]);
$gp->start or die 'no instance';

# The replies of a session that sends these lines, joined.
sub say_all {
    my ($from, $port, @lines) = @_;
    my $c = Gatepost::Smtp->new(port => $port, from => $from) or return 'no connection';
    my @replies = $c->reply->{text};
    for my $line (@lines) {
        my $r = $c->cmd($line);
        push @replies, $r->{text};
        last if !$r->{code};
    }
    $c->close;
    return join '|', @replies;
}
my @begin = ('EHLO client.example', 'MAIL FROM:<s@client.test>');
my @letter = (@begin, 'RCPT TO:<root@local.test>', 'DATA', "Subject: x\r\n\r\nx\r\n.");

like(say_all('127.0.7.1', $port{grey}, @letter), qr/450 4\.2\.0 <root\@local\.test>: Recipient address rejected: Greylisted/, 'postgrey: not the first time');
ok(wait_until(10, sub { say_all('127.0.7.1', $port{grey}, @letter) =~ /queued as/ }), 'then yes');
like(say_all('127.0.8.1', $port{grey}, @letter), qr/Greylisted/, 'another client waits too');

like(say_all('127.0.7.2', $port{rate}, @letter), qr/queued as/, 'policyd-rate-limit: the first');
like(say_all('127.0.7.2', $port{rate}, @letter), qr/queued as/, 'the second');
like(say_all('127.0.7.2', $port{rate}, @letter), qr/450 4\.7\.1 <root\@local\.test>: Recipient address rejected: Rate limit reach/, 'the third is too many');
like(say_all('127.0.7.3', $port{rate}, @letter), qr/queued as/, 'not for another client');

# ---- fail2ban ----

system('cp', '-r', '/etc/fail2ban/filter.d', '/etc/fail2ban/fail2ban.conf', $dir) == 0 or die 'cp';
mkdir "$dir/action.d";
spew("$dir/action.d/note.conf", "[Definition]\nactionban = echo <ip> >>$dir/banned\nactionunban =\n");
spew("$dir/fail2ban.local", "[Definition]\nloglevel = INFO\nlogtarget = $dir/f2b.log\nsyslogsocket = auto\nsocket = $dir/f2b.sock\npidfile = $dir/f2b.pid\ndbfile = None\n");
spew("$dir/jail.conf", <<"END");
[DEFAULT]
bantime = 600
ignoreself = false
ignoreip =
backend = polling
usedns = no
logencoding = auto
protocol = tcp
port = smtp
maxmatches = 10
[gatepost]
enabled = true
filter = postfix[mode=aggressive]
logpath = $gp->{log}
maxretry = 3
findtime = 600
action = note
END
spawn({ out => "$dir/f2b.out" }, 'fail2ban-server', '-c', $dir, '-s', "$dir/f2b.sock", '-p', "$dir/f2b.pid", '-x', '-f', 'start');
ok(wait_until(30, sub { (run_out('fail2ban-client', '-c', $dir, '-s', "$dir/f2b.sock", 'status', 'gatepost'))[0] == 0 }), 'fail2ban watches the log')
    or die slurp("$dir/f2b.out") . slurp("$dir/f2b.log");

sub login_line { 'AUTH PLAIN ' . b64("\0joe\0$_[0]") }
my %events = (
    '127.0.7.11' => [\&login_line, 'wrong passwords'],
    '127.0.7.12' => [sub { (@begin, 'RCPT TO:<x@far.test>') }, 'relaying'],
    '127.0.7.13' => [sub { (@begin, "RCPT TO:<nobody$_[0]\@local.test>") }, 'unknown users'],
    '127.0.7.14' => [sub { ('EHLO client.example', 'MAIL FROM:<s@bad.test>', 'RCPT TO:<root@local.test>') }, undef],
    '127.0.7.9'  => [sub { (@begin, 'RCPT TO:<root@local.test>') }, 'a client that is refused'],
    '127.0.7.15' => [sub { ('EHLO x', 'MAIL FROM:<s@client.test>', 'RCPT TO:<root@local.test>') }, undef],
    '127.0.7.16' => [sub { ('EHLO client.example', ('WHAT') x 6) }, 'too many errors'],
    '127.0.7.17' => [sub { @letter }, undef],
);
for my $who (sort keys %events) {
    my ($lines, undef) = @{ $events{$who} };
    for my $n (1 .. 4) {
        my @lines = $lines->("wrong$n");
        unshift @lines, 'EHLO client.example' if $lines[0] =~ /^AUTH/;
        push @lines, 'QUIT' if $lines[-1] ne 'WHAT';
        say_all($who, $gp->port, @lines);
    }
}
for my $who (sort keys %events) {
    my $why = $events{$who}[1] or next;
    ok(wait_until(20, sub { (slurp("$dir/banned") // '') =~ /^\Q$who\E$/m }), "fail2ban bans for $why")
        or diag join "\n", grep {/\[\Q$who\E\]/} split /\n/, slurp($gp->{log});
}
unlike(slurp("$dir/banned") // '', qr/^127\.0\.7\.17$/m, 'and nobody who did nothing');
my ($status, $out) = run_out('fail2ban-regex', $gp->{log}, 'postfix[mode=normal]');
is($status, 0, 'fail2ban-regex');
my ($matched) = $out =~ /(\d+) matched/;
cmp_ok($matched // 0, '>=', 16, 'refusals match in mode normal') or diag $out;
($status, $out) = run_out('fail2ban-regex', $gp->{log}, 'postfix[mode=auth]');
($matched) = $out =~ /(\d+) matched/;
is($matched, 4, 'failed logins match in mode auth') or diag $out;
run_out('fail2ban-client', '-c', $dir, '-s', "$dir/f2b.sock", 'stop');
$gp->stop;
done_testing;
