#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Who may send where: outside and trusted clients against every way to write an address, with each of
# the lists that a configuration may have; and once more with tables that answer late or fail.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Stage;
use Test::More;

my $denied = qr/^454 4\.7\.1 <.*>: Relay access denied$/;
my $unknown = qr/^550 5\.1\.1 <.*>: Recipient address rejected: User unknown in /;
my $syntax = qr/^501 5\.1\.3 Bad recipient address syntax$/;
my $ok = qr/^250 2\.1\.5 Ok$/;
# recipient, to an outside client, to a trusted one
my @rows = (
    ['root@local.test',                 $ok,      $ok],
    ['ROOT@LOCAL.TEST',                 $ok,      $ok],
    ['root@mx.example.test',            $ok,      $ok],
    ['root',                            $ok,      $ok],
    ['postmaster',                      $ok,      $ok],
    ['Postmaster@local.test',           $ok,      $ok],
    ['root@[127.0.0.1]',                $ok,      $ok],
    ['good@relay.test',                 $ok,      $ok],
    ['u@vm.test',                       $ok,      $ok],
    ['al@alias.test',                   $ok,      $ok],
    ['@far.test:root@local.test',       $ok,      $ok],
    ['nobody@local.test',               $unknown, $unknown],
    ['bad@relay.test',                  $unknown, $unknown],
    ['bad@vm.test',                     $unknown, $unknown],
    ['bad@alias.test',                  $unknown, $unknown],
    ['x@far.test',                      $denied,  $ok],
    ['x@sub.far.test',                  $denied,  $ok],
    ['x@local.test.far.test',           $denied,  $ok],
    ['x@local.test@far.test',           $denied,  $ok],
    ['@local.test:x@far.test',          $denied,  $ok],
    ['@local.test,@relay.test:x@far.test', $denied, $ok],
    ['x%far.test@local.test',           $denied,  undef],
    ['x%far.test@relay.test',           $denied,  undef],
    ['x%far.test',                      $denied,  $ok],
    ['far.test!x',                      $denied,  $ok],
    ['far.test!x@local.test',           $denied,  undef],
    ['local.test!far.test!x',           $denied,  undef],
    ['x@far.test@local.test',           $denied,  undef],
    ['"x@far.test"@local.test',         $denied,  undef],
    ['"x@far.test"',                    $denied,  $ok],
    ['"x%far.test"@local.test',         $denied,  undef],
    ['"far.test!x"@local.test',         $denied,  undef],
    ['x%local.test%far.test',           $denied,  $ok],
    ['x@[192.0.2.1]',                   $denied,  $ok],
    ['x@[IPv6:2001:db8::1]',            $denied,  $ok],
    ['x@[127.0.0.1]@far.test',          $syntax,  $syntax],
    ['x@[far.test]',                    $syntax,  $syntax],
    ['x@127.0.0.1',                     $syntax,  $syntax],
    ['',                                $syntax,  $syntax],
    ['@local.test',                     $syntax,  $syntax],
    ['x@',                              $syntax,  $syntax],
    ['x@far.test>NOTIFY=NEVER',         $syntax,  $syntax],
    ["x\@far.test\0\@local.test",       $syntax,  $syntax],
    ["x\@far.test\n\@local.test",       undef,    undef],
);

sub matrix {
    my ($name, $from, $column, %main) = @_;
    my $st = Gatepost::Stage->new(main => { smtpd_recipient_limit => 100, %main });
    my $c = Gatepost::Smtp->new(port => $st->port, from => $from);
    $c->hello or return fail("$name: session");
    $c->cmd('MAIL FROM:<s@b.test>', 250);
    for my $row (@rows) {
        my $want = $row->[$column] // next;
        $want = $main{want} if ref $want && $want eq $denied && $main{want};
        my $text = $c->cmd("RCPT TO:<$row->[0]>")->{text};
        like($text, $want, "$name: $row->[0]");
    }
    $c->quit;
    $st->order('stop')->end;
}

matrix('outside', '127.0.0.1', 1);
matrix('trusted', '127.0.0.9', 2);
my %late = (
    local_recipient_maps => 'later:inline:{root=1}',
    relay_recipient_maps => 'later:inline:{{good@relay.test=1}}',
    relay_domains => 'later:inline:{{relay.test=1}}',
    virtual_alias_maps => 'later:inline:{{al@alias.test=root@local.test}}',
    virtual_mailbox_maps => 'later:inline:{{u@vm.test=x}}',
    mynetworks => '127.0.0.9, later:inline:{{127.0.0.8=1}}',
);
matrix('outside, later', '127.0.0.1', 1, %late);
matrix('trusted, later', '127.0.0.8', 2, %late);

# Lists.
sub rcpt {
    my ($from, $to, %main) = @_;
    my $st = Gatepost::Stage->new(main => \%main);
    return 'does not start: ' . (tail("$st->{dir}/log", 1) // '') if defined $st->{ended};
    my $c = Gatepost::Smtp->new(port => $st->port, from => $from);
    $c->hello or return 'no session';
    $c->cmd('MAIL FROM:<s@b.test>');
    my $text = $c->cmd("RCPT TO:<$to>")->{text};
    $c->quit;
    $st->order('stop')->end;
    return $text;
}
my @lists = (
    # relay list, recipient list, reply to an outside client's far and local recipient
    ['permit_mynetworks, reject_unauth_destination', '', qr/^554 5\.7\.1 .*Relay access denied/, $ok],
    ['permit_mynetworks reject', '', qr/^554 5\.7\.1 .*: Recipient address rejected: Access denied$/, qr/^554/],
    ['permit_mynetworks, defer', '', qr/^450 4\.3\.2 .*: Recipient address rejected: Try again later$/, qr/^450/],
    ['', 'permit_mynetworks, reject_unauth_destination', qr/^554/, $ok],
    ['', 'permit_mynetworks, reject', qr/^554/, qr/^554/],
    ['permit', 'reject_unauth_destination', qr/^554/, $ok],
    ['reject_unauth_destination', 'permit', qr/^554/, $ok],
    ['permit_sasl_authenticated, defer_unauth_destination', 'permit', $denied, $ok],
);
for my $row (@lists) {
    my ($relay, $recipient, $far, $local) = @$row;
    my %main = (smtpd_relay_restrictions => $relay, smtpd_recipient_restrictions => $recipient);
    like(rcpt('127.0.0.1', 'x@far.test', %main), $far, "[$relay] [$recipient]: far");
    like(rcpt('127.0.0.1', 'root@local.test', %main), $local, "[$relay] [$recipient]: local");
}
for my $row (['', ''], ['permit', 'permit'], ['permit_mynetworks', '']) {
    like(rcpt('127.0.0.1', 'x@far.test', smtpd_relay_restrictions => $row->[0],
            smtpd_recipient_restrictions => $row->[1]),
        qr/does not start: .*fatal: parameter "smtpd_relay_restrictions" or .*specify at least one/,
        "[@$row]: no relay decision, no start");
}
like(rcpt('127.0.0.1', 'x@far.test', smtpd_safe_clients => '127.0.0.1',
        smtpd_recipient_restrictions => 'reject'), $ok, 'a safe client passes every list');

# A table that fails is never "not found", and never a pass.
my $temp = qr/^451 4\.3\.0 <.*>: Temporary lookup failure$/;
for my $row (
    ['local_recipient_maps', 'root@local.test'], ['relay_recipient_maps', 'good@relay.test'],
    ['virtual_alias_maps', 'root@local.test'], ['relay_domains', 'x@far.test'],
    ['mydestination', 'x@far.test'], ['virtual_mailbox_maps', 'u@vm.test'],
) {
    like(rcpt('127.0.0.1', $row->[1], $row->[0] => 'fail:x'), $temp, "$row->[0] fails");
    like(rcpt('127.0.0.1', $row->[1], $row->[0] => 'later:fail:x'), $temp, "$row->[0] fails late");
}
like(rcpt('127.0.0.1', 'x@far.test', mynetworks => 'fail:x'), $temp, 'mynetworks fails');
like(rcpt('127.0.0.1', 'nobody@local.test', show_user_unknown_table_name => 'no'),
    qr/rejected: User unknown$/, 'the table need not be named');
like(rcpt('127.0.0.1', 'nobody@local.test', unknown_local_recipient_reject_code => 450),
    qr/^450 4\.1\.1 /, 'its code can be set');
like(rcpt('127.0.0.1', 'nobody@local.test', soft_bounce => 'yes'), qr/^450 5?4?\.?1?/, 'soft_bounce');
like(rcpt('127.0.0.1', 'nobody@local.test', smtpd_reject_unlisted_recipient => 'no'), $ok,
    'unknown recipients taken when told so');
done_testing;
