#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What smtpd finds out before it serves a client is what Postfix's postscreen finds out: talk before
# the greeting, clients that hang up, scores of DNS lists. The same clients come to both, one after
# the other, and replies and lines of the log are compared.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Smtp;
use Test::More;

my $dns = Gatepost::Dns->new(zones => {
    'bl.test' => join('', map {"$_->[0].0.0.127 A 127.0.0.$_->[1]\n"} [2, 2], [3, 10], [4, 2], [5, 2], [5, 10], [6, 4], [7, 10], [8, 2], [8, 3], [11, 11]),
    'heavy.test' => "2.0.0.127 A 127.0.0.4\n7.0.0.127 A 127.0.0.5\n11.0.0.127 A 127.0.0.6\n",
    'wl.test' => "4.0.0.127 A 127.0.0.1\n8.0.0.127 A 127.0.1.1\n",
});
Gatepost::Netns::resolv_conf($dns->{dir}, "nameserver $dns->{addr}\noptions timeout:5 attempts:3\n");
my $root = Gatepost::Peers::root_of('postfix');
system('mount', '--bind', '/etc/resolv.conf', "$root/etc/resolv.conf") == 0 or die 'mount';

my $sites = 'bl.test=127.0.0.2*2, bl.test=127.0.0.[9..11] wl.test*-2, heavy.test=127.0.0.[4;5]*3 wl.test=127.0.[1;2].1 dead.bl.invalid';
my %both = (
    compatibility_level => '3.6', myhostname => 'mx.example', mydomain => 'example', mynetworks => '127.0.0.9',
    mydestination => 'local.test', local_recipient_maps => '', local_transport => 'discard:', default_transport => 'discard:',
    smtpd_relay_restrictions => 'permit_mynetworks, reject_unauth_destination', smtpd_recipient_restrictions => '',
    inet_interfaces => '127.0.0.1', inet_protocols => 'ipv4', smtpd_banner => '$myhostname ESMTP', disable_dns_lookups => 'no',
    smtpd_peername_lookup => 'no', alias_maps => '', notify_classes => '',
);
# Long enough for the answers of lists, and for a client that wants to be early, on any machine.
my %ours = (smtpd_greet_wait => '4s', smtpd_dnsbl_sites => $sites, smtpd_dnsbl_threshold => 2,
    smtpd_dnsbl_reply_map => 'inline:{heavy.test=hidden.test}', smtpd_greet_banner => 'wait here', smtpd_forbid_unauth_pipelining => 'no');
my %theirs = (postscreen_greet_wait => '4s', postscreen_dnsbl_sites => $sites, postscreen_dnsbl_threshold => 2,
    postscreen_dnsbl_reply_map => 'inline:{heavy.test=hidden.test}', postscreen_greet_banner => 'wait here',
    postscreen_greet_action => 'drop', postscreen_dnsbl_action => 'enforce', postscreen_access_list => 'permit_mynetworks',
    postscreen_dnsbl_allowlist_threshold => 0);
my $port = free_port();
my $pf = Gatepost::Peers->postfix(main => { %both, %theirs }, services => ["127.0.0.1:$port inet n - n - 1 postscreen",
    'smtpd pass - - n - - smtpd', 'dnsblog unix - - n - 0 dnsblog', 'tlsproxy unix - - n - 0 tlsproxy', 'discard unix - - n - - discard']);
my $gp = Gatepost::Instance->new(main => { %both, %ours });
$gp->start or die 'there is nothing to compare with';
my @peers = ([Gatepost => $gp->port, sub { slurp("$gp->{dir}/log") }], [Postfix => $port, sub { slurp($pf->{log}) }]);

# Lines about a client, without what is another one each time.
sub lines {
    my ($log, $from) = @_;
    my @lines = map { /(?:postscreen|smtpd)\[\d+\]: ((?:PREGREET|HANGUP|DNSBL) .*)/ ? $1 : () } grep {/\[\Q$from\E\]/} split /\n/, $log->();
    s/\]:\d+/]/, s/after [\d.]+ /after T / for @lines;
    return join '', map {"$_\n"} @lines;
}

# What each client does, and what it is told; a reply code of its own is given with its reason.
my ($last, @cases) = (0);
for my $early ("EHLO x\r\n", "x", "\n", "\x00\xff\r\n", 'GET / HTTP/1.0' . "\r\n" x 2, "a\tb\\n\r\n", 'x' x 300 . "\r\n") {
    push @cases, ['127.0.0.' . (20 + $last++), 'talks early', sub { my ($c) = @_; my $r = $c->line; $c->send($early); return "$r " . ($c->reply->{text} // '') . ($c->at_eof ? ' closed' : ' open') }, qr/PREGREET/];
}
push @cases, ['127.0.0.40', 'hangs up', sub { my ($c) = @_; my $r = $c->line; $c->close; return $r }, qr/HANGUP/];
push @cases, ["127.0.0.$_", 'is listed, or not', sub {
    my ($c) = @_;
    return join ' ', $c->reply->{text}, map { $c->cmd($_)->{text} =~ s/\n.*//sr } 'HELO x', 'MAIL FROM:<a@far.test>', 'RCPT TO:<b@local.test>', 'RSET', 'QUIT';
}] for 2 .. 9, 11, 12;

sub from { my ($port, $addr) = @_; return Gatepost::Smtp->new(host => '127.0.0.1', port => $port, from => $addr, timeout => 60) // die $addr }

# Those who wait for the greeting wait together.
my (%got, %waiting);
for my $case (grep { !$_->[3] } @cases) {
    $waiting{"$_->[0] $case->[0]"} = from($_->[1], $case->[0]) for @peers;
}
for my $case (@cases) {
    my ($from, $name, $do, $wait) = @$case;
    for my $peer (@peers) {
        my ($who, $p, $log) = @$peer;
        my $c = $waiting{"$who $from"} // from($p, $from);
        my $said = $do->($c);
        # INTERFACES of our own: 554, as all refusals by access; Postfix has 550 here.
        $said =~ s/ 554 5\.7\.1 Service/ 550 5.7.1 Service/ if $who eq 'Gatepost';
        my $line = $said =~ /blocked/ ? qr/DNSBL rank/ : $wait;
        wait_until(20, sub { lines($log, $from) =~ $line }) if $line;
        $got{$who} = $said . "\n" . lines($log, $from);
    }
    is($got{Gatepost}, $got{Postfix}, "$from $name");
}
like($got{Gatepost}, qr/250 2\.1\.5 Ok/, 'the last one was on no list');

# What is otherwise: mail to the postmaster of this host (RFC 5321, 4.5.1).
my @last = map { from($_->[1], '127.0.0.2') } @peers;
for my $peer (@peers) {
    my $c = shift @last;
    $c->reply;
    $c->cmd('HELO x');
    $c->cmd('MAIL FROM:<a@far.test>');
    is($c->cmd('RCPT TO:<postmaster>')->{code}, $peer->[0] eq 'Gatepost' ? 250 : 550, "$peer->[0]: a listed client may write to the postmaster, or not");
    $c->quit;
}
$gp->stop;
kill 'KILL', Gatepost::Kit::descendants($pf->{pid});
$pf->stop;
done_testing;
