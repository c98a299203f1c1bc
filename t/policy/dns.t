#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Restrictions that ask the DNS, over SMTP against name servers of our own: what exists, what does
# not, null MX, DNS lists of addresses and names, servers behind names; SERVFAIL and silence.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Test::More;

my $A = sub { [1, pack('C4', split /\./, $_[0])] };
my %zone = (
    'good.test 15' => [[15, pack('n', 10) . Gatepost::Dns::name_bytes('mx.good.test')]],
    'mx.good.test 1' => [$A->('192.0.2.25')],
    'host.test 1' => [$A->('192.0.2.80')],
    'null.test 15' => [[15, pack('n', 0) . "\0"]],
    '2.0.0.127.list.test 1' => [$A->('127.0.0.4')],
    '2.0.0.127.list.test 16' => [[16, pack('C/a', 'see list.test')]],
    '2.0.0.127.white.test 1' => [$A->('127.0.0.1')],
    'spam.test.names.test 1' => [$A->('127.0.0.2')],
    'zone.test 2' => [[2, Gatepost::Dns::name_bytes('ns.zone.test')]],
    'ns.zone.test 1' => [$A->('192.0.2.53')],
    '4.0.0.127.in-addr.arpa 12' => [[12, Gatepost::Dns::name_bytes('lost.test')]],
    '5.0.0.127.in-addr.arpa 12' => [[12, Gatepost::Dns::name_bytes('host.test')]],
    '6.0.0.127.in-addr.arpa 12' => [[12, Gatepost::Dns::name_bytes('broken.test')]],
);
my $dns = Gatepost::Dns->nasty(answer => sub {
    my ($q) = @_;
    my $name = lc $q->{name};
    return if $name =~ /silent\.test$/;
    return Gatepost::Dns::reply($q, rcode => 2) if $name =~ /broken\.test$/;
    if (my ($kind) = $name =~ /^(\w+)\.garbage\.test$/) { return garbage($q, $kind) }
    my $records = $zone{"$name $q->{type}"};
    my $exists = grep { /^\Q$name\E / } keys %zone;
    return Gatepost::Dns::reply($q, rcode => $exists ? 0 : 3, records => $records // []);
});

# One name is silent, the others may be slow.
Gatepost::Netns::resolv_conf($dns->{dir}, "nameserver $dns->{addr}\noptions timeout:4 attempts:1\n");

# Replies that are none, with the id that was asked.
sub garbage {
    my ($q, $kind) = @_;
    my $good = Gatepost::Dns::reply($q, records => [[15, pack('n', 10) . Gatepost::Dns::name_bytes('mx.good.test')]]);
    return pack('n', $q->{id}) . "\xff" x 40 if $kind eq 'noise';
    return substr $good, 0, length($good) - 5 if $kind eq 'short';
    return pack('n', $q->{id}) if $kind eq 'tiny';
    # A name that points at itself.
    return Gatepost::Dns::reply($q, records => [[15, pack('n', 10) . "\xc0" . chr(12 + length($q->{name}) + 6 + 12 + length($q->{name}) + 2)]]);
}

my (%port, @master);
my %lists = (
    domains => 'reject_unknown_sender_domain, reject_unknown_recipient_domain',
    helo => 'reject_unknown_helo_hostname',
    servers => 'check_sender_ns_access inline:{ns.zone.test=REJECT}, check_sender_mx_access inline:{192.0.2.25=REJECT}',
    lists => 'permit_dnswl_client white.test=127.0.0.[1..3], reject_rbl_client silent.test, '
        . 'reject_rbl_client list.test=127.0.0.[2;4..8]',
    miss => 'reject_rbl_client list.test=127.0.0.[2;5..8]',
    names => 'reject_rhsbl_sender names.test',
    forward => 'reject_unknown_forward_client_hostname',
    filter => 'reject_unknown_sender_domain, reject_rbl_client list.test',
);
my $filter = tempdir('filter') . '/filter';
spew($filter, "/^host\\.test\\. [0-9]+ IN A 192\\.0\\.2\\.80\$/ IGNORE\n/\\.list\\.test\\. [0-9]+ IN A 127\\.0\\.0\\.4\$/ IGNORE\n");
for my $name (sort keys %lists) {
    $port{$name} = free_port();
    push @master, "$port{$name} inet n - n - - smtpd -o { smtpd_recipient_restrictions = $lists{$name} }"
        . ($name eq 'forward' ? ' -o smtpd_peername_lookup=yes' : '')
        . ($name eq 'filter' ? " -o smtpd_dns_reply_filter=later:regexp:$filter" : '');
}
my $gp = Gatepost::Instance->new(master => \@master, main => { mydestination => 'local.test',
    smtpd_relay_restrictions => 'permit_mynetworks, reject', mynetworks => '127.0.0.0/8' });
$gp->start;

my $nowhere = 'Domain not found';
my $null = 'Domain null\.test does not accept mail \(nullMX\)';
# List, client's address, HELO, sender, recipient, reply.
my @rows = (
    ['domains', 1, 'h', 'x@good.test', 'u@host.test', '250 2\.1\.5 Ok'],
    ['domains', 1, 'h', '', 'u@local.test', '250 2\.1\.5 Ok'],
    ['domains', 1, 'h', 'x@none.test', 'u@host.test', "450 4\\.1\\.8 <x\@none\\.test>: Sender address rejected: $nowhere"],
    ['domains', 1, 'h', 'x@null.test', 'u@host.test', "550 5\\.7\\.27 <x\@null\\.test>: Sender address rejected: $null"],
    ['domains', 1, 'h', '', 'u@null.test', "556 5\\.1\\.10 <u\@null\\.test>: Recipient address rejected: $null"],
    ['domains', 1, 'h', '', 'u@none.test', "450 4\\.1\\.2 <u\@none\\.test>: Recipient address rejected: $nowhere"],
    ['domains', 1, 'h', 'x@broken.test', 'u@host.test', "450 4\\.1\\.8 <x\@broken\\.test>: Sender address rejected: $nowhere"],
    ['domains', 1, 'h', 'x@silent.test', 'u@host.test', "450 4\\.1\\.8 <x\@silent\\.test>: Sender address rejected: $nowhere"],
    (map { ['domains', 1, 'h', "x\@$_.garbage.test", 'u@host.test', "450 4\\.1\\.8 <x\@$_\\.garbage\\.test>: Sender address rejected: $nowhere"] } qw(noise short tiny loop)),
    ['helo', 1, 'host.test', '', 'u@local.test', '250 2\.1\.5 Ok'],
    ['helo', 1, 'none.test', '', 'u@local.test', '450 4\.7\.1 <none\.test>: Helo command rejected: Host not found'],
    ['helo', 1, 'broken.test', '', 'u@local.test', '450 4\.7\.1 <broken\.test>: Helo command rejected: Host not found'],
    ['servers', 1, 'h', 'x@deep.zone.test', 'u@local.test', '554 5\.7\.1 <x@deep\.zone\.test>: Sender address rejected: Access denied'],
    ['servers', 1, 'h', 'x@good.test', 'u@local.test', '554 5\.7\.1 <x@good\.test>: Sender address rejected: Access denied'],
    ['servers', 1, 'h', 'x@broken.test', 'u@local.test', '250 2\.1\.5 Ok'],
    ['lists', 2, 'h', '', 'u@local.test', '250 2\.1\.5 Ok'],
    ['lists', 2, 'h', '', 'u@far.test', '554 5\.7\.1 Service unavailable; Client host \[127\.0\.0\.2\] blocked using list\.test; see list\.test'],
    ['lists', 3, 'h', '', 'u@far.test', '250 2\.1\.5 Ok'],
    ['miss', 2, 'h', '', 'u@far.test', '250 2\.1\.5 Ok'],
    ['names', 1, 'h', 'x@spam.test', 'u@local.test', '554 5\.7\.1 Service unavailable; Sender address \[x@spam\.test\] blocked using names\.test'],
    ['names', 1, 'h', 'x@broken.test', 'u@local.test', '250 2\.1\.5 Ok'],
    ['forward', 5, 'h', '', 'u@local.test', '250 2\.1\.5 Ok'],
    ['filter', 2, 'h', 'x@host.test', 'u@local.test', '250 2\.1\.5 Ok'],
    ['filter', 1, 'h', 'x@none.test', 'u@local.test', "450 4\\.1\\.8 <x\@none\\.test>: Sender address rejected: $nowhere"],
    (map { ['forward', $_, 'h', '', 'u@local.test', "450 4\\.7\\.1 Client host rejected: cannot find your hostname, \\[127\\.0\\.0\\.$_\\]"] } 3, 4, 6),
);

# A session that waits for the reply to RCPT, and its end.
sub begin {
    my ($list, $from, $helo, $sender, $recipient) = @_;
    my $c = $gp->client(from => "127.0.0.$from", port => $port{$list}, timeout => 90);
    $c->hello($helo);
    $c->cmd("MAIL FROM:<$sender>");
    $c->send("RCPT TO:<$recipient>\r\n");
    return $c;
}

sub end {
    my ($c) = @_;
    my $reply = $c->reply;
    is($c->cmd('RSET')->{code}, 250, 'the session goes on');
    $c->quit;
    return $reply->{text};
}
# All at once: name servers that are silent take their time.
my @sessions = map { begin(@$_) } @rows;
for my $row (@rows) {
    my $want = $row->[5];
    like(end(shift @sessions), qr/^$want$/, "$row->[0], 127.0.0.$row->[1], $row->[2], <$row->[3]>, <$row->[4]>");
}
$gp->wait_log(qr/NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.2\]: 554 5\.7\.1 Service unavailable; Client host \[127\.0\.0\.2\] blocked using list\.test; see list\.test; from=<> to=<u\@far\.test> proto=ESMTP helo=<h>$/);
$gp->wait_log(qr/warning: 2\.0\.0\.127\.silent\.test: RBL lookup error: /);
$gp->wait_log(qr/smtpd\[\d+\]: ignoring DNS RR: host\.test\. \d+ IN A 192\.0\.2\.80$/, 'what is filtered is told');
$gp->wait_log(qr/warning: host\.test: MX or address lookup error: DNS reply filter drops all results$/, 'it decides nothing');
$gp->wait_log(qr/warning: 2\.0\.0\.127\.list\.test: RBL lookup error: Error looking up name=2\.0\.0\.127\.list\.test type=A: DNS reply filter drops all results$/);

# The resolver dies while it is asked; the next one is asked again.
my $c = begin('domains', 1, 'h', 'x@other.silent.test', 'u@host.test');
ok($gp->kill_role('resolver'), 'the resolver is killed');
like(end($c), qr/^450 4\.1\.8 /, 'who waits is told to come again');
ok(wait_until(10, sub { end(begin('domains', 1, 'h', 'x@good.test', 'u@host.test')) =~ /^250 / }), 'and others are served');
$gp->stop;
done_testing;
