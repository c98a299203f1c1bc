#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# smtpd_reject_footer and smtpd_reject_footer_maps: text behind refusals.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Stage;
use Test::More;

my $st = Gatepost::Stage->new(main => {
    smtpd_reject_footer => 'call $server_name\nabout $client $client_address $helo_name <$sender> <$recipient> $recipient_domain',
    smtpd_client_restrictions => 'check_client_access inline:{{127.0.0.2=421 go}, 127.0.0.3=REJECT}',
});
my $who = 'unknown[127.0.0.1] 127.0.0.1 client.example';
my $c = $st->dialogue('footer',
    'RCPT TO:<x>' => "503-5.5.1 Error: need MAIL command\n503-5.5.1 call mx.example.test\n503 5.5.1 about $who <> <> ",
    'BOGUS' => qr/\A500-5\.5\.2 Error: command not recognized\n500-5\.5\.2 call mx\.example\.test\n500 5\.5\.2 about [^\n]*\z/,
    'VRFY $x${y@far.test' => qr/^454-4\.7\.1 <\$x\$\{y\@far\.test>: Relay access denied\n/,
    'MAIL FROM:<$a@b.test>' => '250 2.1.0 Ok',
    'RCPT TO:<u@far.test>' => "454-4.7.1 <u\@far.test>: Relay access denied\n454-4.7.1 call mx.example.test\n"
        . "454 4.7.1 about $who <\$a\@b.test> <u\@far.test> far.test",
    'RCPT TO:<root@local.test>' => '250 2.1.5 Ok',
    'DATA' => '354 End data with <CR><LF>.<CR><LF>',
    "x: y\r\n." => qr/^250 /,
    'QUIT' => '221 2.0.0 Bye');
$st->wait_log(qr/reject: RCPT from unknown\[127\.0\.0\.1\]: 454 4\.7\.1 <u\@far\.test>: Relay access denied; from=/, 'the log is without it');
$c = $st->session(from => '127.0.0.2');
$c->cmd('MAIL FROM:<>');
like($c->cmd('RCPT TO:<root@local.test>')->{text}, qr/\A421-4\.7\.1 .*: go\n421-4\.7\.1 call .*\n421 4\.7\.1 about [^\n]* <<>> <root\@local\.test> local\.test\z/, 'a refusal that ends the session');
ok($c->at_eof, 'and it has');
$st->order('stop');
$st->end;

# Joined to the reply; by table; in every way that a table can behave.
for my $later ('', 'later:') {
    $st = Gatepost::Stage->new(main => {
        soft_bounce => 'no', smtpd_client_restrictions => 'check_client_access inline:{{127.0.0.2=421 go}}',
        smtpd_reject_footer => '\c. At $localtime\n', smtpd_forbidden_commands => 'GET',
        smtpd_reject_footer_maps => $later . 'pcre:{{/^500 5.5.2/ $$$$nothing} {/(need [A-Z]+)/ \c, $${1}}}',
    });
    $c = $st->dialogue("${later}table",
        'RCPT TO:<x>' => '503 5.5.1 Error: need MAIL command, need MAIL',
        'DATA' => '503 5.5.1 Error: need RCPT command, need RCPT',
        'VRFY x@far.test' => qr/\A454-4\.7\.1 <x\@far\.test>: Relay access denied\. At [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d\n454 4\.7\.1 \z/,
        'BOGUS' => qr/\A500-5\.5\.2 Error: command not recognized\n500 5\.5\.2 \z/,
        'NOOP' => '250 2.0.0 Ok');
    # Replies keep their order, whatever waits.
    $c->send("RSET\r\nRCPT TO:<x>\r\nRSET\r\nRCPT TO:<y>\r\nRSET\r\n");
    is(join(' ', map { $c->reply->{code} } 1 .. 5), '250 503 250 503 250', "${later}table: in order");
    $c->quit;
    $st->wait_log(qr/warning: unknown macro name "nothing" in expansion request/);
    $c = $st->session(from => '127.0.0.2');
    $c->cmd('MAIL FROM:<>');
    like($c->cmd('RCPT TO:<root@local.test>')->{text}, qr/\A421-4\.7\.1 .*: go\. At .*\n421 4\.7\.1 \z/, "${later}table: a session that ends has the reply");
    ok($c->at_eof, 'and no more');
    $st->order('stop');
    $st->end;
}

# A table that fails leaves the other footer; soft_bounce is for all lines.
$st = Gatepost::Stage->new(main => { smtpd_reject_footer => 'sorry', smtpd_reject_footer_maps => 'fail:x', soft_bounce => 'yes' });
$c = $st->dialogue('failing', 'BOGUS' => "400-4.5.2 Error: command not recognized\n400 4.5.2 sorry");
$st->wait_log(qr/warning: smtpd_reject_footer_maps: lookup error for "500 5\.5\.2 Error: command not recognized"/);
$c->quit;
$st->order('stop');
$st->end;

# A template that is none keeps smtpd from starting.
$st = Gatepost::Stage->new(main => { smtpd_reject_footer => 'a ${b' });
is($st->{ended} // $st->end, 1, 'a bad template');
$st->wait_log(qr/fatal: smtpd_reject_footer: /);
done_testing;
