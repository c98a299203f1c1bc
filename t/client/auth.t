#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# AUTH at relays, rows H4 and H8: each mechanism, real servers, and servers that refuse, lie, echo or
# break off. Mail waits then; a server that no credentials are for sees no AUTH; no log has a secret.
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 sha256);
use Gatepost::Certs;
use Gatepost::Dovecot;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sasl;
use Gatepost::Script;
use Gatepost::Sink;
use Gatepost::Tables;
use Gatepost::TlsSink;
use JSON::PP qw(decode_json);
use MIME::Base64 qw(decode_base64);
use Test::More;

my $dir = tempdir('auth');
my $password = 'pa:ss wOrd9';
my $simple = 'dovecot wOrd8'; # without a colon, which ends it in Dovecot's file
my $token = 'ya29.tok' . 'en' x 400;
my $plain = b64("\0joe\0$password");

# ---- Servers as scripts ----

sub is_plain { my ($c, $arg) = @_; $arg eq "PLAIN $plain" ? '235 2.7.0 welcome' : "535 5.7.8 not $arg" }

sub by_login {
    my ($c, $arg) = @_;
    return '501 5.5.4 what?' if $arg ne 'LOGIN';
    $c->say('334 VXNlcm5hbWU6');
    my $name = $c->line;
    $c->say('334 UGFzc3dvcmQ6');
    return $name eq b64('joe') && $c->line eq b64($password) ? '235 2.7.0 ok' : '535 5.7.8 no';
}

# The token is too long for one line with AUTH.
sub by_token {
    my ($c, $arg) = @_;
    return '501 5.5.4 what?' if $arg ne 'XOAUTH2';
    $c->say('334 ');
    return $c->line eq b64("user=me\@x.test\1auth=Bearer $token\1\1") ? '235 2.7.0 ok' : '535 5.7.8 no';
}

sub by_scram {
    my (%change) = @_;
    return sub {
        my ($c, $arg) = @_;
        my ($first) = $arg =~ /^SCRAM-SHA-256 (\S+)$/ or return '501 5.5.4 what?';
        my ($bare) = decode_base64($first) =~ /^n,,(.*)/ or return '501 5.5.4 no header';
        my ($nonce) = $bare =~ /^n=joe,r=(.*)/ or return '501 5.5.4 no name';
        my ($salt, $i) = ('0123456789', 4096);
        my $answer = "r=${nonce}srv,s=" . b64($salt) . ",i=$i";
        return '235 2.7.0 believe me' if $change{at_once};
        $c->say('334 ' . b64($answer));
        my ($without, $proof) = decode_base64($c->line) =~ /^(.*),p=(.*)$/ or return '501 5.5.4 no proof';
        my $key = salted($password, $salt, $i);
        my $text = "$bare,$answer,$without";
        my $client = hmac_sha256('Client Key', $key);
        return '535 5.7.8 wrong' if $proof ne b64($client ^ hmac_sha256($text, sha256($client)));
        return '235 2.7.0 believe me' if $change{no_proof};
        $c->say('334 ' . b64('v=' . b64($change{liar} ? 'x' x 32 : hmac_sha256($text, hmac_sha256('Server Key', $key)))));
        return $c->line eq '' ? '235 2.7.0 ok' : '501 5.5.4 not empty';
    };
}

my $joe = "joe:$password";
my $why = qr/SASL authentication failed; cannot authenticate to server 127\.0\.0\.1\[127\.0\.0\.1\]: /;
my $said = qr/SASL authentication failed; server 127\.0\.0\.1\[127\.0\.0\.1\] said: /;
my $incompatible = qr/SASL authentication failed: server 127\.0\.0\.1\[127\.0\.0\.1\] offered no compatible authentication mechanisms for this type of connection security/;
# name => [keywords, auth, credentials, result, text, transport]
my %case = (
    plain    => ['AUTH PLAIN', \&is_plain, $joe, 'sent', undef, 'kept'],
    old      => ['AUTH=PLAIN', \&is_plain, $joe, 'sent'],
    login    => ['AUTH LOGIN', \&by_login, $joe, 'sent'],
    token    => ['AUTH XOAUTH2', \&by_token, "me\@x.test:$token", 'sent'],
    scram    => ['AUTH PLAIN LOGIN SCRAM-SHA-256', by_scram(), $joe, 'sent'],
    filter   => ['AUTH PLAIN LOGIN', \&by_login, $joe, 'sent', undef, 'filter'],
    none     => ['AUTH PLAIN', '535 5.7.8 who asked?', undef, 'sent'],
    silent   => ['8BITMIME', '502 5.5.1 what?', $joe, 'sent'],
    dummy    => ['AUTH PLAIN', \&is_plain, $joe, 'sent', undef, 'dummy'],
    bounce   => ['AUTH PLAIN', '535 5.7.8 wrong', $joe, 'bounced', qr/dsn=5\.7\.8.*${said}535 5\.7\.8 wrong\)/, 'hard'],
    wrong    => ['AUTH PLAIN', '535 5.7.8 wrong', $joe, 'deferred', qr/dsn=4\.7\.8.*${said}535 5\.7\.8 wrong\)/],
    later    => ['AUTH PLAIN', '454 4.7.0 not now', $joe, 'deferred', qr/${said}454 4\.7\.0 not now\)/],
    closing  => ['AUTH PLAIN', '421 4.3.2 bye', $joe, 'deferred', qr/${said}421 4\.3\.2 bye\)/],
    echo     => ['AUTH PLAIN', sub { "535 5.7.8 what is $_[1], who is $password?" }, $joe, 'deferred', qr/535 5\.7\.8 what is PLAIN \*+, who is \*+\?/],
    drop     => ['AUTH PLAIN', 'drop', $joe, 'deferred', qr/lost connection with \S+ while performing SASL authentication/],
    mute     => ['AUTH PLAIN', 'silent', $joe, 'deferred', qr/timed out while performing SASL authentication/, 'quick'],
    rubbish  => ['AUTH PLAIN', 'garbage', $joe, 'deferred', qr/no reply while/],
    unknown  => ['AUTH CRAM-MD5 NTLM', '502 5.5.1 what?', $joe, 'deferred', $incompatible],
    safe     => ['AUTH PLAIN LOGIN', '502 5.5.1 what?', $joe, 'deferred', $incompatible, 'safe'],
    stranger => ['AUTH CRAM-MD5', '502 5.5.1 what?', undef, 'sent'],
    more     => ['AUTH PLAIN', sub { $_[0]->say('334 more'); $_[0]->line; '535 5.7.8 no' }, $joe, 'deferred', qr/${why}the host breaks the rules/],
    base64   => ['AUTH LOGIN', sub { $_[0]->say('334 !!!'); $_[0]->line; '501 5.5.4 no' }, $joe, 'deferred', qr/${why}.*no base64/],
    noproof  => ['AUTH SCRAM-SHA-256', by_scram(no_proof => 1), $joe, 'deferred', qr/${why}the host does not prove/],
    atonce   => ['AUTH SCRAM-SHA-256', by_scram(at_once => 1), $joe, 'deferred', qr/${why}the host does not prove/],
    liar     => ['AUTH SCRAM-SHA-256', by_scram(liar => 1), $joe, 'deferred', qr/${why}the host does not prove/],
    fails    => ['AUTH PLAIN', \&is_plain, undef, 'deferred', qr/${why}the table of credentials cannot be read/, 'fails'],
    aged     => ['AUTH PLAIN', '535 5.7.8 wrong', $joe, 'deferred', qr/${said}535/, 'aged'],
    cached   => ['AUTH PLAIN', '535 5.7.8 wrong', $joe, 'deferred', qr/${said}535/, 'cached'],
    file     => ['AUTH XOAUTH2', sub { decode_base64($_[1] =~ s/^XOAUTH2 //r) eq "user=me\@x.test\1auth=Bearer " . slurp("$dir/token") =~ s/\n//r . "\1\1"
        ? '235 ok' : '535 5.7.8 no' }, "me\@x.test:{FILE}$dir/token", 'sent', undef, 'file'],
    nofile   => ['AUTH XOAUTH2', '535 5.7.8 no', "me\@x.test:{FILE}$dir/missing", 'deferred', qr/${why}the file of its token cannot be read/, 'nofile'],
    unlisted => ['AUTH XOAUTH2', '535 5.7.8 no', "me\@x.test:{FILE}/etc/shadow", 'deferred', qr/${why}the file of its token is not in smtp_sasl_token_files/],
    bysender => ['AUTH PLAIN', sub { $_[1] eq 'PLAIN ' . b64("\0ann\0anns") ? '235 ok' : '535 5.7.8 no' }, $joe, 'sent', undef, 'bysender'],
    # What a postmaster is told, of those that say everything back and do not know RCPT.
    toldplain => ['AUTH PLAIN', sub { is_plain(@_) =~ s/welcome/welcome $_[1], $password/r }, $joe, 'bounced'],
    toldlogin => ['AUTH LOGIN', sub { by_login(@_) =~ s/ok/ok ${\b64($password)} $password/r }, $joe, 'bounced'],
    toldtoken => ['AUTH XOAUTH2', sub { by_token(@_) =~ s/ok/ok $token/r }, "me\@x.test:$token", 'bounced'],
    lmtp     => ['AUTH PLAIN', \&is_plain, $joe, 'sent', undef, 'lmtp'],
);
spew("$dir/token", "first.tokenYY\n");
spew("$dir/missing", '');
my $s = Gatepost::Script->new(map { $_ => { keywords => ['PIPELINING', $case{$_}[0]], auth => $case{$_}[1],
    ($_ eq 'lmtp' ? (lmtp => 1) : ()), (/^told/ ? (rcpt => '500 5.5.2 what?') : ()) } } keys %case);
my $post = Gatepost::Sink->new;

# ---- Real servers ----

my $certs = Gatepost::Certs->new;
my $cert = $certs->make('mx', names => ['mx.test']);
my $dovecot = Gatepost::Dovecot->new(users => { joe => $simple }, mechanisms => 'plain login scram-sha-256');
my $postfix = Gatepost::Peers->postfix(domains => ['postfix.test'], main => { smtpd_sasl_auth_enable => 'yes',
    smtpd_sasl_type => 'dovecot', smtpd_sasl_path => $dovecot->socket, mynetworks => '192.0.2.1', smtpd_recipient_restrictions => 'permit_sasl_authenticated, reject',
    smtpd_relay_restrictions => 'permit_sasl_authenticated, reject' });
my $exim = Gatepost::Peers->exim(domains => ['exim.test'], more => <<"END");
begin authenticators
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = \${if and {{eq{\$auth1}{joe}}{eq{\$auth2}{$password}}}}
  server_set_id = \$auth1
END
my $records = table('hash', "$dir/records", 'joe ' . scram_record($password) . "\n");
my $server = Gatepost::Instance->new(main => { smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table',
    smtpd_sasl_password_maps => $records, smtpd_tls_security_level => 'may', smtpd_tls_chain_files => $cert->{both},
    smtpd_sasl_security_options => 'noanonymous, mutual_auth', mynetworks => '192.0.2.1', default_transport => 'discard',
    smtpd_recipient_restrictions => 'permit_sasl_authenticated, reject', smtpd_relay_restrictions => 'permit_sasl_authenticated, reject' });
# By the security of the connection: what holds in clear text, inside of TLS, with a server that is verified.
my $inside = Gatepost::TlsSink->new(cert => $cert, keywords => ['AUTH PLAIN']);
my ($none, $all) = map {"$_,noanonymous"} 'noplaintext', 'noanonymous';
my @verify = ("smtp_tls_CAfile=@{[ $certs->ca ]}", 'smtp_tls_verify_cert_match=mx.test');
my %security = (
    intls => [$none, $all, undef, 'sent', 'smtp_tls_security_level=encrypt'],
    nottls => [$none, $all, undef, 'deferred', 'smtp_tls_security_level=none'],
    safetls => [$all, $none, undef, 'deferred', 'smtp_tls_security_level=encrypt'],
    unverified => [$all, $none, $all, 'deferred', 'smtp_tls_security_level=encrypt'],
    verified => [$none, $none, $all, 'sent', 'smtp_tls_security_level=verify', @verify],
    byprint => [$none, $none, $all, 'sent', 'smtp_tls_security_level=fingerprint', 'smtp_tls_fingerprint_digest=sha256',
        'smtp_tls_fingerprint_cert_match=' . $certs->fingerprint($cert->{cert})],
    safeverified => [$all, $all, $none, 'deferred', 'smtp_tls_security_level=verify', @verify],
);
sub security_line {
    my ($name) = @_;
    my ($clear, $tls, $verified, undef, @more) = @{ $security{$name} };
    return join ' -o ', "$name unix - - n - - smtp-client", "smtp_sasl_security_options=$clear", "smtp_sasl_tls_security_options=$tls",
        ($verified ? "smtp_sasl_tls_verified_security_options=$verified" : ()), @more;
}
my %real = (postfix => $postfix->port, exim => $exim->port, plus => $server->port);

# ---- ----

my $credentials = join '', '[127.0.0.1]:' . $inside->port . " $joe\n", (map { "[127.0.0.1]:$real{$_} joe:" . ($_ eq 'postfix' ? $simple : $password) . "\n" } sort keys %real),
    map { defined $case{$_}[2] ? $s->at($_) . " $case{$_}[2]\n" : () } sort keys %case;
my $maps = table('hash', "$dir/credentials", "$credentials\@annhome.test ann:anns\n");
my $routes = join ', ', '{post.test=smtp:[127.0.0.1]:' . $post->port . '}', (map { "{$_.test=" . ($case{$_}[5] // 'smtp') . ':' . $s->at($_) . '}' } sort keys %case),
    (map {"{$_.test=$_:[127.0.0.1]:" . $inside->port . '}'} sort keys %security), map {"{$_.test=" . ($_ eq 'plus' ? 'tls' : 'smtp') . ":[127.0.0.1]:$real{$_}}"} sort keys %real;
my $gp = Gatepost::Instance->new(main => {
    smtp_sasl_auth_enable => 'yes', smtp_sasl_password_maps => $maps, smtp_sasl_security_options => 'noanonymous',
    lmtp_sasl_auth_enable => 'yes', lmtp_sasl_password_maps => $maps, lmtp_sasl_security_options => 'noanonymous',
    transport_maps => "inline:{$routes}", backoff_plans => '{ default = 600s } { default auth = 1000s } { default 454 = 1400s } { default 4.3.2 = 1800s }',
    notify_classes => 'protocol', error_notice_recipient => 'errors@post.test', log_level => 'debug',
    minimal_backoff_time => '600s', maximal_backoff_time => '600s', relayhost => '[127.0.0.1]:1', delay_warning_time => 0,
    default_destination_concurrency_failed_cohort_limit => 0, # a refused login is no reason not to try the next one
}, master => [
    'quick unix - - n - - smtp-client -o smtp_helo_timeout=8s',
    # A session of before is there, however long the next message takes.
    'kept unix - - n - - smtp-client -o smtp_connection_cache_time_limit=100s',
    'hard unix - - n - - smtp-client -o smtp_sasl_auth_soft_bounce=no',
    'safe unix - - n - - smtp-client -o smtp_sasl_security_options=noplaintext,noanonymous',
    'filter unix - - n - - smtp-client -o { smtp_sasl_mechanism_filter = !plain, static:rest }',
    'dummy unix - - n - - smtp-client -o smtp_send_dummy_mail_auth=yes',
    'fails unix - - n - - smtp-client -o smtp_sasl_password_maps=fail:x',
    'cached unix - - n - - smtp-client -o smtp_sasl_auth_cache_name=memory',
    'aged unix - - n - 1 smtp-client -o smtp_sasl_auth_cache_name=memory -o smtp_sasl_auth_cache_time=1s',
    (map { security_line($_) } sort keys %security),
    'bysender unix - - n - - smtp-client -o smtp_sender_dependent_authentication=yes',
    "file unix - - n - - smtp-client -o smtp_connection_cache_on_demand=no -o smtp_sasl_token_files=$dir/token",
    "nofile unix - - n - - smtp-client -o smtp_sasl_token_files=$dir/missing",
    'tls unix - - n - - smtp-client -o smtp_tls_security_level=encrypt',
]);
ok($server->start, 'a server of our own') and $gp->start;
my $c = $gp->session;
is($c->mail('ann@annhome.test', "u\@$_.test", "Subject: $_\r\n\r\nx\r\n")->{code}, 250, "$_: taken")
    for sort(keys %case), sort(keys %real), sort keys %security;

for my $name (sort keys %case) {
    my (undef, undef, undef, $result, $text) = @{ $case{$name} };
    my $line = $gp->find_log(qr/to=<u\@$name\.test>, .*, status=/, 20) // '';
    like($line, qr/, status=$result \(/, "$name: $result") or diag($s->log($name));
    like($line, $text, "$name: why") if $text;
    is(scalar($s->took($name)), $result eq 'sent' ? 1 : 0, "$name: who has it");
}
unlike($s->log($_), qr/C: AUTH/, "$_: no AUTH, row H8") for qw(none silent unknown safe stranger fails);
like($s->log('dummy'), qr/C: MAIL FROM:<ann\@annhome\.test> .*AUTH=<>$/m, 'smtp_send_dummy_mail_auth');
unlike($s->log('plain'), qr/AUTH=<>/, 'not without it');
like($s->log('base64'), qr/^C: \*$/m, 'an exchange that makes no sense is cancelled');

# What a server has refused is not said to it again.
$c->mail('ann@annhome.test', 'again@cached.test', "x\r\n");
$gp->wait_log(qr/to=<again\@cached\.test>, .*status=deferred \(SASL \[CACHED\] authentication failed; server 127\.0\.0\.1 said: 535 5\.7\.8 wrong\)/,
    'smtp_sasl_auth_cache_name');
is(scalar(() = $s->log('cached') =~ /^C: AUTH/mg), 1, 'it sees AUTH once');

for my $name (sort keys %security) {
    my $result = $security{$name}[3];
    like($gp->find_log(qr/to=<u\@$name\.test>, .*, status=/, 20) // '', $result eq 'sent' ? qr/status=sent/ : qr/status=deferred \($incompatible\)/, "$name: $result");
}
my @logged_in = map { my ($to) = /^RCPT TO:<u\@(\w+)\./m; /^AUTH PLAIN/m && $to ? $to : () } $inside->sessions;
is(join(' ', sort @logged_in), join(' ', grep { $security{$_}[3] eq 'sent' } sort keys %security), 'AUTH where it may be, alone');

for my $name (sort keys %real) {
    $gp->wait_log(qr/to=<u\@$name\.test>, .*dsn=2\.0\.0, status=sent/, "$name: sent");
}
# They write their logs when they have time for it.
ok(wait_until(20, sub { $postfix->log =~ /sasl_method=SCRAM-SHA-256, sasl_username=joe/ }), 'Postfix with Dovecot: by SCRAM-SHA-256') or diag $postfix->log;
ok(wait_until(20, sub { $exim->log =~ /A=login:joe/ }), 'Exim: by LOGIN') or diag $exim->log;
$server->wait_log(qr/sasl_method=SCRAM-SHA-256-PLUS, sasl_username=joe/, 'Gatepost: bound to TLS');

# Sessions go on with the login that they have.
my $before = $s->connections('plain');
for (1 .. 3) {
    $c->mail('ann@annhome.test', "k$_\@plain.test", "x\r\n");
    $gp->wait_log(qr/to=<k$_\@plain\.test>, .*status=sent/, "one more: $_");
}
cmp_ok($s->connections('plain') - $before, '<', 3, 'a session is used again');
is(scalar(() = $s->log('plain') =~ /^C: AUTH/mg), $s->connections('plain'), 'and logged in once');

# A token that was refreshed, as a new file and in place.
spew("$dir/token", "second.tokenYY\n");
ok(wait_until(15, sub {
    $gp->mark;
    $c->mail('ann@annhome.test', 'new@file.test', "x\r\n");
    ($gp->find_log(qr/to=<new\@file\.test>, .*status=/) // '') =~ /status=sent/;
}), 'a new file with a token');
open my $fh, '+<', "$dir/token" or die "$dir/token: $!";
syswrite $fh, "third0.tokenYY\n";
$gp->mark;
$c->mail('ann@annhome.test', 'place@file.test', "x\r\n");
$gp->wait_log(qr/to=<place\@file\.test>, .*status=sent/, 'the file written in its place');

# A refusal that is old.
ok(wait_until(20, sub {
    $gp->mark;
    $c->mail('ann@annhome.test', 'again@aged.test', "x\r\n");
    $gp->find_log(qr/to=<again\@aged\.test>, .*status=deferred/);
    return $s->log('aged') =~ /^C: AUTH.*^C: AUTH/ms;
}), 'smtp_sasl_auth_cache_time is over: it is tried again') or diag $s->log('aged');

# vault may die.
$gp->mark;
ok($gp->kill_role('vault'), 'vault is killed');
$c->mail('ann@annhome.test', 'after@scram.test', "x\r\n");
$gp->wait_log(qr/to=<after\@scram\.test>, .*status=sent/, 'mail goes on with the next one');

# When they are tried again: by stage, by code, by status.
my %due = map { $_->{address} => $_->{next_attempt} } map { @{ decode_json($_)->{recipients} } } grep {/^\{/} split /\n/, ($gp->tool('gateq', 'list', '--json'))[1];
for (['wrong', 1000], ['drop', 1000], ['later', 1400], ['closing', 1800]) {
    my ($name, $want) = @$_;
    my $left = ($due{"u\@$name.test"} // 0) - time;
    ok($left <= $want && $left > $want - 200, "$name: tried again behind $want s") or diag "in $left s";
}

# Transcripts, of the class "protocol".
my %told;
ok(wait_until(20, sub {
    %told = map { (/^Subject: Gatepost SMTP client: errors from 127\.0\.0\.1\[127\.0\.0\.1\]:(\d+)\r$/m)[0] // '?' => $_ } map { $_->{content} } $post->messages;
    return keys %told >= 4;
}), 'transcripts for the postmaster');
is(join(' ', sort keys %told), join(' ', sort map { $s->port($_) } qw(toldplain toldlogin toldtoken rubbish)), 'of servers that do not understand, or cannot be understood');
my $secret = join '|', map { quotemeta } $password, b64($password), $plain, substr($token, 0, 12), substr(b64("user=me\@x.test\1auth=Bearer $token"), 0, 40);
for my $name (qw(toldplain toldlogin toldtoken)) {
    my $text = $told{ $s->port($name) } // '';
    like($text, qr/^ In:  235 2\.7\.0 .*\*\*\*.*^ Out: MAIL FROM:<ann\@annhome\.test>.*^ In:  500 5\.5\.2 what\?/ms, "$name: what was said, the secret masked");
    # Long lines are folded.
    unlike($text =~ s/\r\n    //gr . $text =~ s/\r\n    / /gr, qr/$secret/, "$name: no secret, however it is written");
}

my $log = slurp($gp->{log});
unlike($log, qr/\Q$password\E|\Q$simple\E|\Q$plain\E|ya29|anns|tokenYY/, 'no secret is in the log, with the dialogue in it');
unlike($log, qr/\Q@{[ b64($password) ]}\E/, 'nor encoded');
like($log, qr/> 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: AUTH PLAIN$/m, 'the dialogue says that there was AUTH');
unlike($log, qr/panic|fatal/, 'nothing broke');
done_testing;
