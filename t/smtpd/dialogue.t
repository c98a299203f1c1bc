#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Each command, good and bad, in and out of order: the replies are Postfix's, word for word (what
# Postfix 3.7 answers to the same lines was read off one; HELP and the bare LF are those of 3.9).
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Stage;
use Test::More;

my $st = Gatepost::Stage->new(
    main => { smtpd_forbid_unauth_pipelining => 'no', smtpd_recipient_limit => 3 });

my $c = $st->client;
is($c->reply->{text}, '220 mx.example.test ESMTP Gatepost', 'banner');
is($c->cmd('EHLO client.test')->{text}, join("\n",
    '250-mx.example.test', '250-PIPELINING', '250-SIZE 100000', '250-VRFY', '250-ETRN',
    '250-ENHANCEDSTATUSCODES', '250-8BITMIME', '250-DSN', '250-SMTPUTF8', '250 CHUNKING'), 'EHLO');
$c->quit;

$st->dialogue('order',
    'EHLO'                    => '501 Syntax: EHLO hostname',
    'HELO'                    => '501 Syntax: HELO hostname',
    'HELO x y'                => '250 mx.example.test',
    'EHLO x y'                => qr/^250-mx/,
    'RCPT TO:<root@local.test>' => '503 5.5.1 Error: need MAIL command',
    'DATA'                    => '503 5.5.1 Error: need RCPT command',
    'DATA x'                  => '503 5.5.1 Error: need RCPT command',
    'MAIL FROM:<a@b.test>'    => '250 2.1.0 Ok',
    'MAIL FROM:<a@b.test>'    => '503 5.5.1 Error: nested MAIL command',
    'DATA'                    => '554 5.5.1 Error: no valid recipients',
    'RCPT TO:<root@local.test>' => '250 2.1.5 Ok',
    'DATA x'                  => '501 5.5.4 Syntax: DATA',
    'RSET x'                  => '501 5.5.4 Syntax: RSET',
    'RSET'                    => '250 2.0.0 Ok',
    'NOOP x'                  => '250 2.0.0 Ok',
    'HELP'                    => qr/^214 2\.0\.0 Commands: BDAT DATA/,
    'EXPN x'                  => '502 5.5.1 EXPN command is disabled',
    'FOO'                     => '500 5.5.2 Error: command not recognized',
    ''                        => '500 5.5.2 Error: bad syntax',
    ' '                       => '500 5.5.2 Error: bad syntax',
    '  noop'                  => '250 2.0.0 Ok',
    "NOOP\n"                  => '250 2.0.0 Ok',
    'STARTTLS'                => '502 5.5.1 Error: command not implemented',
    'AUTH PLAIN'              => '503 5.5.1 Error: authentication not enabled',
    "NOOP \xff"               => '500 5.5.2 Error: bad UTF-8 syntax',
    'QUIT x'                  => '221 2.0.0 Bye',
);

$st->dialogue('MAIL',
    'MAIL'                                     => '501 5.5.4 Syntax: MAIL FROM:<address>',
    'MAIL FROM:'                               => '501 5.5.4 Syntax: MAIL FROM:<address>',
    'MAIL FROM <a@b>'                          => '501 5.5.4 Syntax: MAIL FROM:<address>',
    'MAIL FROM:<a@b.test'                      => '501 5.1.7 Bad sender address syntax',
    'MAIL FROM:<a b@c.test>'                   => '501 5.1.7 Bad sender address syntax',
    'MAIL FROM:<a@b.test>foo'                  => '501 5.1.7 Bad sender address syntax',
    'MAIL FROM:<a@1.2.3.4>'                    => '501 5.1.7 Bad sender address syntax',
    'MAIL FROM:<a@b.test> FOO=bar'             => '555 5.5.4 Unsupported option: FOO=bar',
    'MAIL FROM:<a@b.test> SIZE=x'              => '501 5.5.4 Bad message size syntax',
    'MAIL FROM:<a@b.test> SIZE=9999999'        => '552 5.3.4 Message size exceeds fixed limit',
    'MAIL FROM:<a@b.test> SIZE=9999999999999999999999' => '552 5.3.4 Message size exceeds fixed limit',
    'MAIL FROM:<a@b.test> BODY=foo'            => '555 5.5.4 Unsupported option: BODY=foo',
    'MAIL FROM:<a@b.test> RET=x'               => '501 5.5.4 Bad RET parameter syntax',
    'MAIL FROM:<a@b.test> ENVID='              => '501 5.5.4 Bad ENVID parameter syntax',
    'MAIL FROM:<a@b.test> SIZE=100000 BODY=8BITMIME RET=HDRS ENVID=x+2By' => '250 2.1.0 Ok',
    'RSET'                                     => '250 2.0.0 Ok',
    'mail from: a@b.test'                      => '250 2.1.0 Ok',
    'RSET'                                     => '250 2.0.0 Ok',
    'MAIL FROM:<>'                             => '250 2.1.0 Ok',
    'RCPT'                                     => '501 5.5.4 Syntax: RCPT TO:<address>',
    'RCPT TO:<>'                               => '501 5.1.3 Bad recipient address syntax',
    'RCPT TO:<root> NOTIFY=NEVER,SUCCESS'      => '501 5.5.4 Error: Bad NOTIFY parameter syntax',
    'RCPT TO:<root> ORCPT=x'                   => '501 5.5.4 Error: Bad ORCPT parameter syntax',
    'RCPT TO:<root> ORCPT=rfc822;a+0Ab'        => '501 5.5.4 Error: Bad ORCPT parameter syntax',
    'RCPT TO:<root> BLAH'                      => '555 5.5.4 Unsupported option: BLAH',
    'RCPT TO:<root> NOTIFY=DELAY ORCPT=rfc822;a+2Bb@c' => '250 2.1.5 Ok',
    'rcpt to: root@local.test'                 => '250 2.1.5 Ok',
    'RCPT TO:<nobody@local.test>' =>
        '550 5.1.1 <nobody@local.test>: Recipient address rejected: User unknown in local recipient table',
    'RCPT TO:<postmaster>'                     => '250 2.1.5 Ok',
    'RCPT TO:<root>'                           => '452 4.5.3 Error: too many recipients',
);

$st->dialogue('VRFY',
    'VRFY'                   => '501 5.5.4 Syntax: VRFY address [SMTPUTF8]',
    'VRFY root'              => '250 2.0.0 root',
    'VRFY <root@local.test>' => '250 2.0.0 root@local.test',
    'VRFY nobody@local.test' =>
        '550 5.1.1 <nobody@local.test>: Recipient address rejected: User unknown in local recipient table',
    'VRFY x@far.test'        => '454 4.7.1 <x@far.test>: Relay access denied',
    'VRFY a b@c'             => '501 5.1.3 Bad recipient address syntax',
);

$c = $st->dialogue('BDAT order',
    "BDAT 6\r\nhello\n"      => '503 5.5.1 Error: need RCPT command',
    "BDAT 6 LAST\r\nhello\n" => '551 5.0.0 Discarded 6 bytes after earlier error',
    'MAIL FROM:<a@b.test>'   => '250 2.1.0 Ok',
    "BDAT 4\r\nabc\n"        => '554 5.5.1 Error: no valid recipients',
    'RCPT TO:<root>'         => '503 5.5.1 Error: RCPT after BDAT',
    "BDAT 3\r\nab\n"         => '551 5.0.0 Discarded 3 bytes after earlier error',
    'DATA'                   => '503 5.5.1 Error: DATA after BDAT',
    'RSET'                   => '250 2.0.0 Ok',
    'MAIL FROM:<a@b.test>'   => '250 2.1.0 Ok',
    'RCPT TO:<root>'         => '250 2.1.5 Ok',
    "BDAT 3\r\nab\n"         => '250 2.0.0 Ok: 3 bytes',
    'MAIL FROM:<a@b.test>'   => '503 5.5.1 Error: nested MAIL command',
    'RCPT TO:<root>'         => '503 5.5.1 Error: RCPT after BDAT',
    'DATA'                   => '503 5.5.1 Error: DATA after BDAT',
    'NOOP'                   => '250 2.0.0 Ok',
    "BDAT 1 last\r\n\n"      => qr/^250 2\.0\.0 Ok: 6 bytes queued as \w+$/,
    'BDAT 0 LAST'            => '503 5.5.1 Error: need RCPT command',
    'MAIL FROM:<a@b.test>'   => '250 2.1.0 Ok',
    'RCPT TO:<root>'         => '250 2.1.5 Ok',
    'BDAT 0 LAST'            => qr/^250 2\.0\.0 Ok: 0 bytes queued as \w+$/,
    'BDAT 5 FOO'             => '521 5.5.4 Syntax: BDAT count [LAST]',
);
ok($c->at_eof, 'a malformed BDAT ends the session');
ok($st->dialogue('BDAT', "BDAT $_" => '521 5.5.4 Syntax: BDAT count [LAST]')->at_eof, "BDAT $_")
    for '', -1, 'x', '99999999999999999999';

for my $line ('Subject: foo', 'GET / HTTP/1.0', 'POST /', 'CONNECT x', '<html>', "\x16\x03\x01") {
    my $c = $st->dialogue('not SMTP', $line => '221 2.7.0 Error: I can break rules, too. Goodbye.');
    ok($c->at_eof, 'closed');
}
$st->wait_log(qr/warning: non-SMTP command from unknown\[127\.0\.0\.1\]: Subject: foo/);

# What cleanup is told.
$c = $st->session(helo => 'client.test');
$c->cmd('MAIL FROM:<"a b"@b.test> BODY=8BITMIME RET=FULL ENVID=id+2Bx SIZE=100 SMTPUTF8', 250);
$c->cmd('RCPT TO:<@relay.test:root@local.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;r+2Bx@y', 250);
$c->cmd('RCPT TO:<good@relay.test>', 250);
$c->cmd('DATA', '354');
$c->send("Subject: x\r\n\r\nb\xe4\r\n.\r\n");
my $m = $st->letter($c->id_of($c->expect(250)));
is_deeply(
    { %$m, observed => $m->{observed} },
    {   sender => 'a b@b.test', rcpt => ['root@local.test', 'good@relay.test'],
        notify => 10, orcpt => 'rfc822;r+2Bx@y', envid => 'id+2Bx', ret => 1, body => 2,
        size => 100, flags => 8 + 0x4000, observed => 2, client_name => 'unknown',
        client_addr => '127.0.0.1', helo => 'client.test', protocol => 'ESMTP',
        service => 'smtp', content => "Subject: x\r\n\r\nb\xe4\r\n",
    }, 'the envelope as cleanup gets it');

# Log lines.
$c->quit;
$st->wait_log(qr/ disconnect from unknown\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=2 data=1 quit=1 commands=6$/m);
$st->wait_log(qr/: connect from unknown\[127\.0\.0\.1\]$/m);
$st->wait_log(qr/: [0-9A-F]+: client=unknown\[127\.0\.0\.1\]$/m);
$st->wait_log(qr/ NOQUEUE: reject: MAIL from unknown\[127\.0\.0\.1\]: 552 5\.3\.4 Message size exceeds fixed limit; from=<a\@b\.test> proto=ESMTP helo=<client\.example>$/m);
$st->wait_log(qr/ [0-9A-F]+: reject: RCPT from unknown\[127\.0\.0\.1\]: 550 5\.1\.1 <nobody\@local\.test>: Recipient address rejected: User unknown in local recipient table; from=<> to=<nobody\@local\.test> proto=ESMTP helo=<client\.example>$/m);
$st->wait_log(qr/ warning: Illegal address syntax from unknown\[127\.0\.0\.1\] in MAIL command: <a\@1\.2\.3\.4>$/m);
$st->wait_log(qr/ warning: NOQUEUE: malformed BDAT command syntax from unknown\[127\.0\.0\.1\]: BDAT -1$/m);

# The local listener: nobody is checked, the uid is the kernel's word.
$c = Gatepost::Smtp->new(path => $st->socket);
ok($c->hello, 'the local listener');
$m = $st->letter($c->id_of($c->mail('me', 'x@far.test', "a\r\n")));
is($m->{uid}, $>, 'uid');
is($m->{flags}, 256, 'flag');
is_deeply($m->{rcpt}, ['x@far.test'], 'any recipient');
ok(!exists $m->{client_addr}, 'no client');
$c->quit;
$st->wait_log(qr{/pickup\[\d+\]: [0-9A-F]+: uid=$> from=<me>$}m);

$st->order('stop');
is($st->end, 0, 'ends in good order');
done_testing;
