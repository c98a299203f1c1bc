#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Commands that a listener may have or not: VRFY, EXPN, ETRN; other ones in their place; keywords
# that are kept from clients; standards.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Stage;
use Test::More;

# Off.
my $st = Gatepost::Stage->new(main => {
    disable_vrfy_command => 'yes', smtpd_discard_ehlo_keywords => 'etrn', smtpd_rset_limit => 2,
});
my $c = $st->dialogue('off',
    'VRFY root@local.test' => '502 5.5.1 VRFY command is disabled',
    'EXPN root@local.test' => '502 5.5.1 EXPN command is disabled',
    'ETRN relay.test' => '502 5.5.1 Error: command not implemented',
    'STARTTLS' => '502 5.5.1 Error: command not implemented',
    'RSET' => '250 2.0.0 Ok', 'RSET' => '250 2.0.0 Ok',
    'RSET' => '421 4.7.0 mx.example.test Error: too many RSET commands');
ok($c->at_eof, 'one RSET too many: closed');
$c = $st->session;
ok(!exists $c->{ehlo}{$_}, "$_ is not offered") for qw(VRFY EXPN ETRN);
$c->quit;
$st->order('stop');
$st->end;

# On; with tables that answer at once, and with such that answer later.
for my $later ('', 'later:') {
    $st = Gatepost::Stage->new(main => {
        disable_expn_command => 'no', fast_flush_domains => "${later}inline:{relay.test=x}, sub.relay.test, [192.0.2.1]",
        smtpd_etrn_restrictions => 'check_etrn_access inline:{no.relay.test=REJECT, later.relay.test=DEFER}',
        smtpd_relay_restrictions => 'permit_mynetworks, reject_unauth_destination', smtpd_helo_required => "yes",
        smtpd_noop_commands => 'wiz, HELP', smtpd_forbidden_commands => 'GET, regexp:{{/^[^A-Z]/ Bogus} {/^BAD/ x}}',
        smtpd_command_filter => $later . q(pcre:{{/^HELLO (.*)$$/ EHLO $$1} {/^(RCPT TO:<)bad@(.*)$$/ $${1}good@$$2} {/^NONE$$/ FROBNICATE}}),
        smtpd_deliver_by_enable => 'yes', smtpd_deliver_by_min_time => '1m',
        smtpd_discard_ehlo_keyword_address_maps => $later . 'inline:{{127.0.0.2=chunking, dsn, deliverby, silent-discard} {127.0.0.3=pipelining size vrfy etrn expn enhancedstatuscodes 8bitmime dsn smtputf8 chunking deliverby}}',
    });
    $c = $st->dialogue("${later}on",
        'VRFY root@local.test' => '250 2.0.0 root@local.test',
        'VRFY nobody@local.test' => qr/^550 5\.1\.1 .*User unknown/,
        'EXPN root@local.test' => '250 2.0.0 root@local.test',
        'EXPN al@alias.test' => '250 2.0.0 al@alias.test',
        'EXPN nobody@local.test' => qr/^550 5\.1\.1 .*User unknown/,
        'EXPN x@far.test' => qr/^554 5\.7\.1 .*Relay access denied/,
        'EXPN' => qr/^501 5\.5\.4 /,
        'ETRN relay.test' => '250 2.0.0 Queuing started',
        'ETRN @sub.relay.test' => '250 2.0.0 Queuing started',
        'ETRN [192.0.2.1]' => '250 2.0.0 Queuing started',
        'ETRN far.test' => '459 4.7.1 <far.test>: service unavailable',
        'ETRN no.relay.test' => qr/^554 5\.7\.1 <no\.relay\.test>: /,
        'ETRN later.relay.test' => qr/^450 4\.7\.1 <later\.relay\.test>: /,
        'ETRN' => '500 5.5.2 Syntax: ETRN domain',
        'ETRN a b' => '500 5.5.2 Syntax: ETRN domain',
        'ETRN a..b' => '501 5.5.4 Error: invalid parameter syntax',
        'ETRN [1.2.3]' => '501 5.5.4 Error: invalid parameter syntax',
        'ETRN <relay.test>' => '501 5.5.4 Error: invalid parameter syntax',
        'HELP' => '250 2.0.0 Ok', 'WIZ x' => '250 2.0.0 Ok',
        'NONE' => '500 5.5.2 Error: command not recognized',
        'HELLO other.example' => qr/^250-mx\.example\.test\n.*250-EXPN\n/s,
        'MAIL FROM:<a@b.test>' => '250 2.1.0 Ok',
        'ETRN relay.test' => '503 5.5.1 Error: MAIL transaction in progress',
        'RCPT TO:<bad@relay.test>' => '250 2.1.5 Ok',
        'RCPT TO:<worse@relay.test>' => qr/^550 /,
        'RSET' => '250 2.0.0 Ok',
        'MAIL FROM:<a@b.test> BY=60' => '501 5.5.4 Error: Bad BY parameter syntax',
        'MAIL FROM:<a@b.test> BY=0;R' => '501 5.5.4 Error: BY with mode R needs a time above 0',
        'MAIL FROM:<a@b.test> BY=59;R' => '555 5.5.4 Error: BY with mode R needs at least 60 seconds',
        'MAIL FROM:<a@b.test> BY=60;RT' => '250 2.1.0 Ok', 'RSET' => '250 2.0.0 Ok',
        'MAIL FROM:<a@b.test> BY=-5;N' => '250 2.1.0 Ok', 'RSET' => '250 2.0.0 Ok');
    is($c->{ehlo}{DELIVERBY}, 60, "${later}on: DELIVERBY with the least time");
    $c->quit;
    $st->wait_log(qr/: unknown\[127\.0\.0\.1\]: replacing client command "HELLO other\.example" with "EHLO other\.example"$/m);
    $st->wait_log(qr/: warning: reject: ETRN far\.test\.\.\. from unknown\[127\.0\.0\.1\]$/m);
    $st->wait_log(qr/: NOQUEUE: reject: ETRN from unknown\[127\.0\.0\.1\]: 554 5\.7\.1 <no\.relay\.test>: .*; proto=ESMTP helo=<client\.example>$/m);
    $st->wait_log(qr/disconnect from .* vrfy=1\/2 etrn=3\/12 .*expn=2\/5 /);

    # Lines that come at once are carried out one after the other.
    $c = $st->session;
    $c->send("NONE\r\nETRN relay.test\r\nRSET\r\nETRN far.test\r\nNONE\r\nRSET\r\n");
    is(join(' ', map { $c->reply->{code} } 1 .. 6), '500 250 250 459 500 250', "${later}on: in order");
    $c->quit;

    # Keywords by client.
    $c = $st->session(from => '127.0.0.2');
    ok(!exists $c->{ehlo}{$_}, "$_ is kept from a client") for qw(CHUNKING DSN DELIVERBY);
    ok(exists $c->{ehlo}{$_}, "$_ is not") for qw(SIZE ETRN);
    is($c->cmd('MAIL FROM:<a@b.test> RET=FULL')->{code}, 555, 'and is not served');
    is($c->cmd('MAIL FROM:<a@b.test> BY=60;R')->{code}, 555, 'nor is DELIVERBY');
    is($c->cmd('BDAT 0 LAST')->{code}, 502, 'nor is CHUNKING');
    $c = $st->client(from => '127.0.0.3');
    $c->expect(220);
    is($c->cmd('EHLO x')->{text}, '250 mx.example.test', 'all of them');
    $c->quit;
    if (!$later) {
        $st->order('stop');
        $st->end;
    }
}

# Commands of other protocols end the session.
for my $line ('GET / HTTP/1.0', 'get /', 'badly', "\x01\x02", '1', 'Subject: x') {
    $c = $st->session;
    is($c->cmd($line)->{text}, '221 2.7.0 Error: I can break rules, too. Goodbye.', 'no SMTP: ' . $line =~ s/[^ -~]/?/gr);
    ok($c->at_eof, 'closed');
}
$st->wait_log(qr/: warning: non-SMTP command from unknown\[127\.0\.0\.1\]: GET \/ HTTP\/1\.0$/m);

# What is offered stands in the page of standards.
$c = $st->session;
my $page = slurp(src() . '/man/gatepost-standards.7');
for my $keyword (sort keys %{ $c->{ehlo} }) {
    next if $keyword =~ /^MX\./;
    like($page, qr/^\.It \Q$keyword\E$/m, "gatepost-standards(7) has $keyword");
}
$c->quit;
done_testing;
