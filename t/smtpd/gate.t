#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What is found out about a client before it is served: talk before the greeting, lists in the DNS.
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
    'bl.test' => "2.0.0.127 A 127.0.0.2\n3.0.0.127 A 127.0.0.10\n4.0.0.127 A 127.0.0.2\n5.0.0.127 A 127.0.0.2\n5.0.0.127 A 127.0.0.10\n"
        . "9.0.0.127 A 127.0.0.2\n10.0.0.127 A 127.0.0.2\n11.0.0.127 A 127.0.0.2\n",
    'secret.test' => "2.0.0.127 A 127.0.0.4\n",
    'wl.test' => "4.0.0.127 A 127.0.0.1\n",
});
Gatepost::Netns::resolv_conf($dns->{dir}, "nameserver $dns->{addr}\noptions timeout:5 attempts:2\n");
my $gp = Gatepost::Instance->new(main => {
    mynetworks => '127.0.0.9', smtpd_safe_clients => '127.0.0.10', mydestination => 'local.test',
    local_recipient_maps => '', local_transport => 'discard', default_transport => 'discard',
    smtpd_recipient_restrictions => '', smtpd_relay_restrictions => 'permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination',
    smtpd_dnsbl_sites => 'bl.test=127.0.0.2*2, bl.test=127.0.0.[9..11] wl.test*-2, secret.test=127.0.0.[4;5]*3 dead.bl.invalid',
    smtpd_dnsbl_threshold => 2, smtpd_dnsbl_reply_map => 'inline:{secret.test=hidden.test}',
    smtpd_authorized_xclient_hosts => '127.0.0.9', smtpd_discard_ehlo_keywords => 'chunking',
});
$gp->start;

sub from { Gatepost::Smtp->new(host => $gp->{addr}, port => $gp->port, from => $_[0]) }

sub rcpt {
    my ($c) = @_;
    $c->cmd('MAIL FROM:<a@far.test>', 250);
    return $c->cmd('RCPT TO:<b@local.test>')->{text};
}
my $blocked = '554 5.7.1 Service unavailable; client [%s] blocked using %s';
for my $row (
    ['127.0.0.1', '250 2.1.5 Ok', 'on no list'],
    ['127.0.0.2', sprintf($blocked, '127.0.0.2', 'hidden.test'), 'on two lists; the heavier one is named', 5],
    ['127.0.0.3', '250 2.1.5 Ok', 'below the threshold'],
    ['127.0.0.4', '250 2.1.5 Ok', 'an allow list outweighs'],
    ['127.0.0.5', sprintf($blocked, '127.0.0.5', 'bl.test'), 'two records of one list', 3],
    ['127.0.0.9', '250 2.1.5 Ok', 'mynetworks'],
    ['127.0.0.10', '250 2.1.5 Ok', 'smtpd_safe_clients'],
) {
    my ($addr, $want, $name, $rank) = @$row;
    $gp->mark;
    my $c = from($addr);
    ok($c->hello, "$addr is greeted");
    is(rcpt($c), $want, $name);
    if ($rank) {
        is($c->cmd('RCPT TO:<c@local.test>')->{text}, $want, 'the next one too');
        is($c->cmd('RCPT TO:<postmaster@local.test>')->{text}, $want, 'and any with a domain');
        is($c->cmd("RCPT TO:<$_>")->{text}, '250 2.1.5 Ok', "but not $_ of this host") for 'postmaster', 'PostMaster';
        $gp->wait_log(qr/: DNSBL rank $rank for \[\Q$addr\E\]:\d+$/);
        $gp->wait_log(qr/: NOQUEUE: reject: RCPT from unknown\[\Q$addr\E\]: \Q$want\E; from=<a\@far\.test> to=<b\@local\.test> proto=ESMTP helo=<client\.example>$/);
    }
    $c->quit;
}

# Through a client that speaks for others, and not for one that has logged in.
{
    my $c = from('127.0.0.9');
    $c->hello;
    $c->cmd('XCLIENT ADDR=127.0.0.11 NAME=x.example', 220);
    $c->cmd('EHLO x', 250);
    is(rcpt($c), sprintf($blocked, '127.0.0.11', 'bl.test'), 'the client that is spoken for');
    $c->quit;
    $c = from('127.0.0.9');
    $c->hello;
    $c->cmd('XCLIENT ADDR=127.0.0.11 NAME=x.example LOGIN=u', 220);
    $c->cmd('EHLO x', 250);
    is(rcpt($c), '250 2.1.5 Ok', 'one that has authenticated');
    $c->quit;
}

# Lists that are silent have no say, and the session goes on after the time they have.
$dns->stop;
my $pace = Gatepost::Pace->new;
$gp->{main}{smtpd_dnsbl_timeout} = '1s';
$gp->{main}{smtpd_dnsbl_ttl} = '0';
$gp->write_config;
$gp->reload;
{
    $gp->mark;
    my $c;
    # The resolver may still know what it was told.
    $c = from('127.0.0.77');
    ok($c->hello, 'greeted while lists are silent');
    my $begin = time;
    is(rcpt($c), '250 2.1.5 Ok', 'a dead list adds nothing');
    ok($pace->within(4, $begin), 'soon');
    $gp->wait_log(qr/: warning: no answer from DNS list bl\.test about 127\.0\.0\.77: /);
    $c->quit;
}
$gp->stop;

# The greeting waits.
$gp = Gatepost::Instance->new(main => {
    mynetworks => '127.0.0.9', mydestination => 'local.test', local_transport => 'discard',
    smtpd_relay_restrictions => 'permit_mynetworks, reject_unauth_destination',
    smtpd_authorized_xclient_hosts => '127.0.0.9', smtpd_greet_wait => '6s', smtpd_greet_banner => 'wait', smtpd_ban_errors => 1,
});
$gp->start;
{
    my $begin = time;
    my ($good, $early, $later, $gone, $ours) = map { from("127.0.0.$_") } 21, 22, 23, 24, 9;
    is($ours->reply->{text}, '220 mx.example ESMTP Gatepost', 'mynetworks');
    cmp_ok(time - $begin, '<', 5.5, 'does not wait');
    $early->send("EHLO x\r\nMAIL FROM:<\001>\r\n");
    is($gone->line, '220-wait', 'the first line comes at once');
    $gone->close;
    is($early->line, '220-wait', 'to all');
    is($early->line, '521 5.5.1 Protocol error', 'and who talks before the last one is sent away');
    ok($early->at_eof, 'closed');
    cmp_ok(time - $begin, '<', 5.5, 'at once');
    $gp->wait_log(qr/: PREGREET 23 after [0-5](?:\.\d+)? from \[127\.0\.0\.22\]:\d+: EHLO x\\r\\nMAIL FROM:<\\001>\\r\\n$/);
    $gp->wait_log(qr/: HANGUP after [0-5](?:\.\d+)? from \[127\.0\.0\.24\]:\d+ in tests before SMTP handshake$/);
    $gp->wait_log(qr/: lost connection after CONNECT from unknown\[127\.0\.0\.24\]$/);
    is($good->reply->{text}, "220-wait\n220 mx.example ESMTP Gatepost", 'the greeting');
    cmp_ok(time - $begin, '>', 5.95, 'has waited');
    $good->quit;
    $later->quit;
    my $again = time;
    $good = from('127.0.0.21');
    is($good->reply->{text}, '220 mx.example ESMTP Gatepost', 'a client that has passed');
    cmp_ok(time - $again, '<', 5.5, 'does not wait again');
    $good->quit;
    $gp->restart;
    $good = from('127.0.0.21');
    is($good->reply->{text}, '220 mx.example ESMTP Gatepost', 'nor after a restart');
    $good->cmd('EHLO x', 250);
    $ours = from('127.0.0.9');
    $ours->expect(220);
    $early = from('127.0.0.25');
    is($early->line, '220-wait', 'one that has not does');
    $early->close;
    # Who does such things is banned.
    like(from('127.0.0.22')->reply->{text}, qr/^421 4\.7\.0 /, 'who has talked early is refused');
    is($good->cmd('GET / HTTP/1.0')->{text}, '221 2.7.0 Error: I can break rules, too. Goodbye.', 'no SMTP');
    ok($good->at_eof, 'closed');
    ok(wait_until(5, sub { from('127.0.0.21')->reply->{code} == 421 }), 'and refused then');
    my $other = from('127.0.0.9');
    $other->expect(220);
    like($other->cmd('XCLIENT ADDR=127.0.0.21 NAME=x.example')->{text}, qr/^421 4\.7\.0 /, 'also when another speaks for it');
    ok($other->at_eof, 'closed');
    is($ours->cmd('BOGUS')->{code}, 500, 'an error in mynetworks');
    is(from('127.0.0.9')->reply->{code}, 220, 'bans nobody');
    $ours->close;
}
$gp->stop;
done_testing;
