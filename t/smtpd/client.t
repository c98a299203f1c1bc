#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Who the client is, with real peers: its name by PTR and back, its connections by tally, the users
# that local_recipient_maps finds by NSS.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Test::More;
use Time::HiRes qw(time);

my $dns = Gatepost::Dns->new(zones => {
    'example.test' => "good A 127.0.0.2\nliar A 127.0.0.99\ntwo A 127.0.0.6\ntwo A 127.0.0.5\n",
    '127.in-addr.arpa' => join('', map {"$_->[0].0.0 PTR $_->[1].\n"}
        [2, 'good.example.test'], [3, 'liar.example.test'], [4, 'nowhere.example.test'],
        [5, 'two.example.test'], [7, 'odd\\\\name.example.test']),
});
my $hosts = tempdir('hosts') . '/hosts';
spew($hosts, "127.0.0.1 localhost\n127.0.0.8 filed.example.test filed\n127.0.0.11 good.example.test\n");
my $gp = Gatepost::Instance->new(main => {
    smtpd_peername_lookup => 'yes', resolver_hosts_file => $hosts, smtpd_client_connection_count_limit => 2,
    mynetworks => '127.0.0.9', mydestination => 'local.test', default_transport => 'discard',
    local_recipient_maps => 'unix:passwd.byname', smtpd_recipient_restrictions => '',
    smtpd_relay_restrictions => 'permit_mynetworks, reject_unauth_destination',
});
$gp->start;

for my $row (
    ['127.0.0.3', 'unknown', qr/warning: hostname liar\.example\.test does not resolve to address 127\.0\.0\.3$/],
    ['127.0.0.4', 'unknown', qr/warning: hostname nowhere\.example\.test does not resolve to address 127\.0\.0\.4: Name or service not known$/],
    ['127.0.0.5', 'two.example.test'],
    ['127.0.0.6', 'unknown'],
    ['127.0.0.7', 'unknown'],
    ['127.0.0.1', 'localhost'],
    ['127.0.0.8', 'filed.example.test'],
    # Found by a name server, but the file says that this name is elsewhere.
    ['127.0.0.2', 'unknown', qr/warning: hostname good\.example\.test does not resolve to address 127\.0\.0\.2$/],
    ['127.0.0.11', 'good.example.test'],
) {
    my ($addr, $name, $line) = @$row;
    $gp->mark;
    my $c = $gp->session or next;
    my $from = Gatepost::Smtp->new(host => $gp->{addr}, port => $gp->port, from => $addr);
    ok($from->hello, "$addr is greeted");
    $gp->wait_log(qr/: connect from \Q$name\E\[\Q$addr\E\]$/);
    $gp->wait_log($line) if $line;
    $_->quit for $c, $from;
}

# The file is replaced: the new one counts, and what it does not have is asked of name servers.
spew($hosts, "127.0.0.8 new.example.test\n");
ok(wait_until(10, sub {
    my $c = Gatepost::Smtp->new(host => $gp->{addr}, port => $gp->port, from => '127.0.0.8');
    $c->hello;
    $c->quit;
    $gp->log_lines(qr/connect from new\.example\.test\[127\.0\.0\.8\]$/);
}), 'a replaced file of hosts is taken');
$gp->mark;
{
    my $c = Gatepost::Smtp->new(host => $gp->{addr}, port => $gp->port, from => '127.0.0.2');
    ok($c->hello, 'another client');
    $gp->wait_log(qr/: connect from good\.example\.test\[127\.0\.0\.2\]$/);
    $c->quit;
}

# Without an answer a client is greeted all the same.
$dns->stop;
my $pace = Gatepost::Pace->new;
my $begin = time;
my $c = Gatepost::Smtp->new(host => $gp->{addr}, port => $gp->port, from => '127.0.0.77');
ok($c && $c->hello, 'greeted while name servers are silent');
ok($pace->within(8, $begin), 'soon');
$c->quit;
$dns->start;

# Connections of one client, whichever worker has them.
sub from { Gatepost::Smtp->new(host => $gp->{addr}, port => $gp->port, from => $_[0]) }
my @open = map { from('127.0.0.2') } 1 .. 2;
ok($_->hello, 'within the limit') for @open;
$c = from('127.0.0.2');
is($c->reply->{text}, '421 4.7.0 mx.example Error: too many connections from 127.0.0.2', 'one over it');
ok($c->at_eof, 'closed');
$gp->wait_log(qr/warning: Connection concurrency limit exceeded: 3 from good\.example\.test\[127\.0\.0\.2\] for service \d+$/);
ok(from('127.0.0.5')->hello, 'another client is served');
my @trusted = map { from('127.0.0.9') } 1 .. 5;
is(scalar(grep { $_->hello } @trusted), 5, 'no limit for mynetworks');
$open[0]->quit;
ok(wait_until(5, sub { from('127.0.0.2')->hello }), 'room again');

# A tally that is lost: nobody waits, and the new one knows of all sessions.
{
    my @two = map { from('127.0.0.12') } 1 .. 2;
    ok($_->hello, 'two sessions of a client') for @two;
    ok($gp->kill_role('tally'), 'tally is killed');
    my $begin = time;
    ok(from('127.0.0.13')->hello, 'another client is greeted at once');
    ok($pace->within(2, $begin), 'whatever tally does');
    ok(wait_until(5, sub { ($gp->roles->{tally} // [])->[0] && from('127.0.0.12')->reply->{code} == 421 }),
        'the third session is over the limit, by the word of the new tally');
}

# Users.
$c = from('127.0.0.5');
ok(wait_until(5, sub { $c = from('127.0.0.5'); $c->hello }), 'a session');
$c->cmd('MAIL FROM:<a@b.test>', 250);
$c->cmd('RCPT TO:<root@local.test>', 250, 'a user of this machine');
$c->cmd('RCPT TO:<Root@Local.Test>', 250, 'in any case');
$c->cmd('RCPT TO:<no-such-user-here@local.test>', qr/^550 5\.1\.1 .*User unknown in local recipient table$/);
$gp->kill_role('nss');
ok(wait_until(5, sub { $c->cmd('RCPT TO:<root@local.test>')->{code} == 250 }),
    'and soon again when the process that asks NSS has died');
$c->quit;
$gp->stop;

# Sessions of a port, over all its workers.
my $port = free_port();
$gp = Gatepost::Instance->new(port => $port, line => {}, services => [
    "$port inet n - n - 3 smtpd", 'cleanup unix n - n - 0 cleanup', 'qmgr unix n - n 300 1 qmgr',
    'discard unix - - n - - discard']);
$gp->start;
@open = map { $gp->session } 1 .. 3;
is(scalar(grep {$_} @open), 3, 'as many sessions as maxproc says');
for (1 .. 4) {
    $c = $gp->client;
    like($c->reply->{text}, qr/^421 4\.3\.2 /, 'one more is told so by whichever worker has it');
    ok($c->at_eof, 'and closed');
}
$open[1]->quit;
ok($gp->session, 'room again');
$gp->stop;
done_testing;
