#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# check_policy_service: what a server is told, what its answers do, and every way to fail: nobody
# there, silence, garbage, half an answer, a connection that is closed.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Policy;
use Test::More;

my %answer = (
    dunno => "action=DUNNO\n\n", ok => "action=OK\n\n", reject => "action=REJECT 5.7.2 no\n\n",
    defer => "action=DEFER_IF_PERMIT 4.7.1 Greylisted\n\n", code => "action=531 5.7.1 go away\n\n",
    class => "action=strict\n\n", crlf => "action=REJECT dos\r\n\r\n", more => "x=y\naction=REJECT more\n\n",
    split => "action=warn_if_reject reject\n\n",
    noaction => "action=\n\n", garbage => "what?\n\n", empty => "\n", none => "x=y\n\n",
    long => 'action=' . 'x' x 100000, bytes => "action=REJECT \xff\xfe\n\n", half => 'action=DUCLOSE',
    gone => '', silent => undef, unknown => "action=no_such_thing\n\n",
);
my $server = Gatepost::Policy->new(answer => sub {
    my ($r) = @_;
    my ($name) = $r->{recipient} =~ /^(\w+)@/;
    return $r->{protocol_state} eq 'RCPT' ? $answer{ $name // 'dunno' } : "action=DUNNO\n\n";
});
my $path = tempdir('policy') . '/socket';
chmod 0755, $path =~ s{/[^/]*$}{}r;
my $unix = Gatepost::Policy->new(path => $path, answer => sub { "action=REJECT by a socket\n\n" });
my $dead = 'inet:127.0.0.1:' . free_port();
my $spec = $server->spec;

my (%port, @master);
my %lists = (
    plain => "check_policy_service { $spec, timeout=10s, retry_delay=0s }",
    context => "check_policy_service { $spec, { policy_context = submission text }, request_limit=1 }",
    unix => "check_policy_service unix:$path",
    dead => "check_policy_service { $dead, try_limit=2, retry_delay=1s }",
    default => "check_policy_service { $dead, { default_action = 450 4.7.9 come again }, try_limit=1 }",
    dunno => "check_policy_service { $dead, default_action=DUNNO, try_limit=1 }",
    class => 'ask', quick => "check_policy_service { $spec, timeout=1s }",
);
for my $name (sort keys %lists) {
    $port{$name} = free_port();
    push @master, "$port{$name} inet n - n - - smtpd -o { smtpd_recipient_restrictions = $lists{$name} }";
}
for my $stage (qw(data end_of_data)) {
    $port{$stage} = free_port();
    push @master, "$port{$stage} inet n - n - - smtpd -o { smtpd_${stage}_restrictions = check_policy_service $spec }";
}
my $gp = Gatepost::Instance->new(
    master => [@master, ($port{all} = free_port()) . ' inet n - n - - smtpd -o smtpd_delay_reject=no'
        . join('', map { " -o { smtpd_${_}_restrictions = check_policy_service $spec }" }
            qw(client helo sender recipient data end_of_data etrn)),
        ($port{who} = free_port()) . " inet n - n - - smtpd -o smtpd_authorized_xclient_hosts=127.0.0.1"
            . ' -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_path=/nowhere -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject }'
            . " -o { smtpd_recipient_restrictions = check_policy_service $spec } -o { smtpd_etrn_restrictions = check_policy_service $spec }"],
    main => { mydestination => 'local.test', smtpd_relay_restrictions => 'permit_mynetworks, reject',
        smtpd_restriction_classes => 'strict, ask', strict => 'reject_non_fqdn_sender, reject',
        ask => "check_policy_service $spec", default_transport => 'discard', local_transport => 'discard' });
is(($gp->tool('gatepost', 'check'))[0], 0, 'the lists are understood');
$gp->start;

sub ask {
    my ($list, $to) = @_;
    my $c = $gp->client(port => $port{$list}, timeout => 60);
    $c->hello('h.test');
    $c->cmd('MAIL FROM:<s@far.test>');
    my $reply = $c->cmd("RCPT TO:<$to\@local.test>");
    is($c->cmd('RSET')->{code}, 250, "$list, $to: the session goes on");
    $c->quit;
    return $reply->{text};
}
my $problem = '451 4\.3\.5 <%s@local\.test>: Recipient address rejected: Server configuration problem';
my @rows = (
    [plain => 'dunno', '250 2\.1\.5 Ok'], [plain => 'ok', '250 2\.1\.5 Ok'],
    [plain => 'reject', '554 5\.7\.2 <%s@local\.test>: Recipient address rejected: no'],
    [plain => 'defer', '450 4\.7\.1 <%s@local\.test>: Recipient address rejected: Greylisted'],
    [plain => 'code', '531 5\.7\.1 <%s@local\.test>: Recipient address rejected: go away'],
    [plain => 'class', '554 5\.7\.1 <%s@local\.test>: Recipient address rejected: Access denied'],
    [plain => 'crlf', '554 5\.7\.1 <%s@local\.test>: Recipient address rejected: dos'],
    [plain => 'more', '554 5\.7\.1 <%s@local\.test>: Recipient address rejected: more'],
    [plain => 'split', '250 2\.1\.5 Ok'],
    (map { [plain => $_, $problem] } qw(noaction garbage empty none long bytes half gone)),
    [plain => 'unknown', '451 4\.3\.5 Server configuration error'],
    [quick => 'silent', $problem], [dead => 'dunno', $problem],
    [default => 'dunno', '450 4\.7\.9 <%s@local\.test>: Recipient address rejected: come again'],
    [dunno => 'dunno', '250 2\.1\.5 Ok'],
    [unix => 'dunno', '554 5\.7\.1 <%s@local\.test>: Recipient address rejected: by a socket'],
    [class => 'reject', '554 5\.7\.2 <%s@local\.test>: Recipient address rejected: no'],
    [context => 'dunno', '250 2\.1\.5 Ok'], [context => 'dunno', '250 2\.1\.5 Ok'],
);
for my $row (@rows) {
    my ($list, $to, $want) = @$row;
    my $pattern = $want =~ s/%s/$to/r;
    like(ask($list, $to), qr/^$pattern$/, "$list, $to");
}
$gp->wait_log(qr/warning: problem talking to server \Q$dead\E: Connection refused or lost$/);
$gp->wait_log(qr/warning: problem talking to server \Q$spec\E: Connection timed out$/);
$gp->wait_log(qr/warning: malformed reply from policy server \Q$spec\E: "what\?"$/);

my @asked = grep { $_->{policy_context} eq 'submission text' } $server->requests;
is(scalar @asked, 2, 'the context is told');
isnt($asked[0]{connection}, $asked[1]{connection}, 'one request a connection, with request_limit=1');
my @plain = grep { $_->{recipient} =~ /^(?:dunno|ok|reject|defer|code|class)@/ && $_->{policy_context} eq '' } $server->requests;
cmp_ok(scalar(keys %{ { map { $_->{connection} => 1 } @plain } }), '<', scalar @plain, 'else connections are used again');

# Every stage, with all that there is to say.
my $seen = $server->requests;
my $c = $gp->client(port => $port{all}, timeout => 30);
$c->hello('h.test');
$c->cmd('MAIL FROM:<s@far.test> SIZE=1000', 250);
$c->cmd('RCPT TO:<dunno@local.test>', 250);
$c->cmd('RCPT TO:<ok@local.test>', 250);
$c->cmd('DATA', 354);
$c->send("Subject: x\r\n\r\nbody\r\n.\r\n");
$c->expect(250, 'accepted');
$c->cmd('MAIL FROM:<s@far.test>', 250);
$c->cmd('RCPT TO:<dunno@local.test>', 250);
$c->cmd('DATA', 354);
$c->send("Subject: x\r\n\r\nbody\r\n.\r\n");
$c->expect(250, 'accepted');
$c->quit;
my @all = ($server->requests)[$seen .. scalar(my @x = $server->requests) - 1];
is(join(' ', map { $_->{protocol_state} } @all),
    'CONNECT EHLO MAIL RCPT RCPT DATA END-OF-MESSAGE MAIL RCPT DATA END-OF-MESSAGE', 'each stage once');
my ($connect, $ehlo, $mail, $rcpt, $rcpt2, $data, $end, undef, $again, undef, $single) = @all;
is($connect->{order}, join(' ', qw(request protocol_state protocol_name client_address client_name client_port
    reverse_client_name server_address server_port helo_name sender recipient recipient_count queue_id
    instance size etrn_domain stress sasl_method sasl_username sasl_sender ccert_subject ccert_issuer
    ccert_fingerprint ccert_pubkey_fingerprint encryption_protocol encryption_cipher encryption_keysize
    tls_sni policy_context compatibility_level mail_version)), 'all attributes');
my %common = (request => 'smtpd_access_policy', client_address => '127.0.0.1', client_name => 'unknown',
    server_address => '127.0.0.1', server_port => $port{all}, encryption_keysize => 0, compatibility_level => '3.6');
for my $r ($connect, $rcpt, $end) {
    is($r->{$_}, $common{$_}, "$r->{protocol_state}: $_") for sort keys %common;
    like($r->{client_port}, qr/^\d+$/, 'the client\'s port');
}
is("$ehlo->{protocol_name} $ehlo->{helo_name}", 'SMTP h.test', 'HELO: ESMTP only behind it');
is("$mail->{sender} $mail->{size} $mail->{recipient}", 's@far.test 1000 ', 'MAIL');
is("$rcpt->{recipient} $rcpt->{recipient_count} $rcpt2->{recipient}", 'dunno@local.test 0 ok@local.test', 'RCPT');
is("$data->{recipient}|$data->{recipient_count}", '|2', 'DATA of several recipients');
like($end->{queue_id}, qr/^\w+$/, 'the queue id');
cmp_ok($end->{size}, '>', 10, 'the size of the content');
is($single->{recipient}, 'dunno@local.test', 'a single recipient is told at the end');
is($rcpt->{instance}, $end->{instance}, 'one instance a message');
isnt($rcpt->{instance}, $again->{instance}, 'another for the next');

# The queue id is told however fast the client is.
for (['data', "DATA\r\n", 'DATA'], ['end_of_data', "BDAT 17 LAST\r\nSubject: x\r\n\r\ny\r\n", 'END-OF-MESSAGE']) {
    my ($stage, $content, $state) = @$_;
    $seen = $server->requests;
    $c = $gp->client(port => $port{$stage}, timeout => 30);
    $c->hello('h.test');
    $c->send("MAIL FROM:<s\@far.test>\r\nRCPT TO:<dunno\@local.test>\r\n$content");
    $c->expect(250, "$stage: $_") for qw(MAIL RCPT);
    if ($stage eq 'data') {
        $c->expect(354, 'and DATA at once');
        $c->send("Subject: x\r\n\r\n.\r\n");
    }
    my ($id) = $c->reply->{text} =~ /queued as (\w+)$/;
    $c->quit;
    is(join(' ', map {"$_->{protocol_state} $_->{queue_id}"} ($server->requests)[$seen .. scalar(my @z = $server->requests) - 1]),
        "$state " . ($id // 'queued'), "$stage: by its id");
}

# Who it is, at the commands that have no message too.
$seen = $server->requests;
$c = $gp->client(port => $port{who}, timeout => 30);
$c->hello('h.test');
$c->cmd('XCLIENT NAME=[UNAVAILABLE] REVERSE_NAME=ptr.test ADDR=2001:db8::9 PORT=4711 LOGIN=joe DESTADDR=192.0.2.25 DESTPORT=587', 220);
$c->cmd('EHLO there.test', 250);
$c->cmd('VRFY dunno@local.test', 250);
$c->cmd('ETRN local.test', qr/^(?:250|459) /);
$c->cmd('MAIL FROM:<> AUTH=boss@x.test SIZE=77', 250);
$c->cmd('RCPT TO:<dunno@local.test>', 250);
$c->quit;
my @who = ($server->requests)[$seen .. scalar(my @y = $server->requests) - 1];
is(join(' ', map { $_->{protocol_state} } @who), 'VRFY ETRN RCPT', 'VRFY and ETRN');
is($who[0]{recipient}, 'dunno@local.test', 'VRFY: the address');
is($who[1]{etrn_domain}, 'local.test', 'ETRN: the domain');
my %who = (client_name => 'unknown', reverse_client_name => 'ptr.test', client_address => '2001:db8::9', client_port => 4711, helo_name => 'there.test',
    server_address => '192.0.2.25', server_port => 587, sasl_method => 'XCLIENT', sasl_username => 'joe', sasl_sender => 'boss@x.test', sender => '',
    size => 77, stress => '', protocol_name => 'ESMTP', encryption_protocol => '', ccert_fingerprint => '', tls_sni => '');
is($who[2]{$_}, $who{$_}, "RCPT: $_") for sort keys %who;
like($who[2]{mail_version}, qr/^\d+\.\d+/, 'the version');

# A server that was away is found again.
$server->stop;
like(ask(plain => 'reject'), qr/^451 4\.3\.5 /, 'away');
$server->start;
like(ask(plain => 'reject'), qr/^554 5\.7\.2 /, 'back');
$gp->stop;
done_testing;
