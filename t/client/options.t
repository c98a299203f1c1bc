#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Parameters of smtp-client that change what servers see, and what is made of what they say: XFORWARD,
# filters of replies and of results, keywords that are not seen, a PIX, QUIT, the source address,
# which connections are kept. Those of LMTP have a life of their own.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Script;
use Gatepost::Sink;
use Gatepost::Tables;
use IO::Select;
use JSON::PP qw(decode_json);
use Test::More;

my $dir = tempdir('options');
my $all = [qw(PIPELINING CHUNKING 8BITMIME SIZE ENHANCEDSTATUSCODES)];
my $xforward = { keywords => ['PIPELINING', 'XFORWARD NAME ADDR PROTO HELO PORT SOURCE IDENT'], xforward => '250 2.0.0 Ok' };
my $pix = '220 ' . '*' x 20 . '02**0*' . '*' x 20;

# Whether the client is still there some seconds after its QUIT: a moment, where it is to wait.
sub at_quit {
    my ($seconds) = @_;
    return sub {
        my ($c) = @_;
        my $gone = IO::Select->new($c->{sock})->can_read($seconds) && !sysread $c->{sock}, my $rest, 10;
        $c->note($gone ? 'gone' : 'waits');
        return $gone ? 'drop' : undef;
    };
}

# Whether it leaves by itself.
sub at_slow_quit {
    my ($c) = @_;
    my $left = IO::Select->new($c->{sock})->can_read(100) && !sysread $c->{sock}, my $rest, 10;
    $c->note($left ? 'left' : 'stayed');
    return 'drop';
}

my $replies = table_name('regexp:' . spew("$dir/replies", <<'END'));
/^450 4\.1\.1 (.*)$/    550 5.1.1 $1
/^250-PIPELINING$/      250-NOTHING
/^nonsense$/            250 2.1.0 Ok
END
my $results = 'regexp:' . spew("$dir/results", <<'END');
/^4\.2\.2 (.*full.*)$/  5.2.2 $1
/^5\.7\.1 (.*)$/        4.7.1 not so hard: $1
/^2\.0\.0 (.*bless.*)$/ 5.0.0 cursed
/^2\.0\.0 (.*)$/        2.0.9 well: $1
/^5\.1\.2 /             what?
END
my $default = 'regexp:' . spew("$dir/default", "/^4\\.2\\.9 (.*)\$/ 5.2.9 as a rule: \$1\n");
# When each is tried again: by how far it came, by its reply's code, by its status.
my %later = (
    stdns => ['nosuch.test', 1000], stconnect => ['[127.0.0.1]:1', 1400], stgreeting => [{ greeting => '450 4.3.9 no' }, 1800], sttls => [{}, 2200],
    sthelo => [{ ehlo => '450 4.3.9 no' }, 2600], stmail => [{ mail => '450 4.3.9 no' }, 3000], strcpt => [{ rcpt => '450 4.3.9 no' }, 3400],
    stdata => [{ data => '450 4.3.9 no' }, 3800], stdot => [{ dot => '450 4.3.9 no' }, 4200], stdrop => [{ rcpt => 'drop', keywords => [] }, 3400],
    stcode => [{ mail => '421 4.3.9 no' }, 4600], ststatus => [{ rcpt => '421 4.3.8 no' }, 5000],
);
my $plans = join ' ', '{ default = 600s } { default dns = 1000s } { default connect = 1400s } { default greeting = 1800s } { default tls = 2200s }',
    '{ default helo = 2600s } { default mail = 3000s } { default rcpt = 3400s } { default data = 3800s } { default dot = 4200s }',
    '{ default 421 = 4600s } { default 4.3.8 = 5000s }';
my %server = (
    (map { ref $later{$_}[0] ? ($_ => $later{$_}[0]) : () } keys %later),
    forward => $xforward, noforward => $xforward, badforward => { %$xforward, xforward => '550 5.7.0 not you' },
    someforward => { %$xforward, keywords => ['XFORWARD PROTO IDENT'] }, lmtpforward => { %$xforward, lmtp => 1 },
    replies => { rcpt => '450 4.1.1 nobody', mail => 'nonsense' }, nofilter => {}, badfilter => {},
    full => { dot => '452 4.2.2 mailbox is full' }, soft => { mail => '550 5.7.1 not you' }, bless => { dot => '250 2.0.0 blessed' },
    well => { dot => '250 2.0.0 taken' }, default => { dot => '452 4.2.9 no' }, notdefault => { dot => '452 4.2.9 no' },
    lmtpdefault => { lmtpdot => '452 4.2.9 no', lmtp => 1 },
    slowforward => { %$xforward, xforward => 'silent' }, lmtpslowforward => { %$xforward, xforward => 'silent', lmtp => 1 },
    slowquit => { quit => \&at_slow_quit }, lmtpslowquit => { quit => \&at_slow_quit, lmtp => 1 },
    what => { rcpt => '550 5.1.2 no host' },
    discard => { keywords => $all }, discardmap => { keywords => $all }, quiet => { keywords => $all }, lmtpdiscard => { keywords => $all, lmtp => 1 },
    pix => { greeting => $pix }, newpix => { greeting => $pix }, pixmap => { greeting => $pix }, nopix => {}, pixfail => { greeting => $pix },
    quit => { quit => at_quit(0.2) }, skip => { quit => at_quit(40) }, lmtpquit => { quit => at_quit(0.2), lmtp => 1 }, lmtpskip => { quit => at_quit(40), lmtp => 1 },
    source => {}, nosource => {}, enforced => {}, lmtpsource => { lmtp => 1 },
    kept => {}, notkept => {}, listed => {}, lmtpnotkept => { lmtp => 1 },
);
my $s = Gatepost::Script->new(%server);
my %six = map { $_ => Gatepost::Sink->new(addr => '::1', port => free_port(), lmtp => $_ eq 'lmtp') } qw(smtp lmtp);
my $post = Gatepost::Sink->new;
my $postfix = Gatepost::Peers->postfix(domains => ['postfix.test'], main => { smtpd_authorized_xforward_hosts => '127.0.0.0/8' });
my %with = (
    forward => 'smtp_send_xforward_command=yes', badforward => 'smtp_send_xforward_command=yes', someforward => 'smtp_send_xforward_command=yes',
    lmtpforward => 'lmtp_send_xforward_command=yes', postfix => 'smtp_send_xforward_command=yes',
    stdns => 'smtp_dns_support_level=disabled -o smtp_host_lookup=native -o soft_bounce=yes', sttls => 'smtp_tls_security_level=encrypt',
    replies => "smtp_reply_filter=$replies", badfilter => 'smtp_reply_filter=fail:x',
    (map { $_ => "smtp_delivery_status_filter=$results" } qw(full soft bless well what notdefault)),
    slowforward => 'smtp_send_xforward_command=yes -o smtp_xforward_timeout=1s',
    lmtpslowforward => 'lmtp_send_xforward_command=yes -o lmtp_xforward_timeout=1s',
    slowquit => 'smtp_skip_quit_response=no -o smtp_connection_cache_on_demand=no -o smtp_quit_timeout=1s',
    lmtpslowquit => 'lmtp_connection_cache_on_demand=no -o lmtp_quit_timeout=1s',
    sixth => 'smtp_bind_address6=[::1] -o smtp_bind_address_enforce=yes', nosixth => 'smtp_bind_address6=2001:db8::77',
    enforcedsixth => 'smtp_bind_address6=2001:db8::77 -o smtp_bind_address_enforce=yes',
    lmtpsixth => 'lmtp_bind_address6=2001:db8::77 -o lmtp_bind_address_enforce=yes',
    discard => '{ smtp_discard_ehlo_keywords = pipelining, CHUNKING }', quiet => '{ smtp_discard_ehlo_keywords = chunking, silent-discard }',
    discardmap => '{ smtp_discard_ehlo_keyword_address_maps = ' . table_name('inline:{127.0.0.1=chunking}') . ' } -o smtp_discard_ehlo_keywords=pipelining',
    lmtpdiscard => 'lmtp_discard_lhlo_keywords=chunking',
    (map { $_ => 'smtp_pix_workaround_threshold_time=0s -o smtp_pix_workaround_delay_time=1s' } qw(pix nopix)),
    pixmap => 'smtp_pix_workaround_threshold_time=0s -o smtp_pix_workaround_delay_time=1s -o smtp_pix_workaround_maps=' . table_name('inline:{127.0.0.1=delay_dotcrlf}'),
    pixfail => 'smtp_pix_workaround_threshold_time=0s -o smtp_pix_workaround_maps=fail:x',
    quit => 'smtp_skip_quit_response=no -o smtp_connection_cache_on_demand=no', skip => 'smtp_connection_cache_on_demand=no',
    lmtpquit => 'lmtp_connection_cache_on_demand=no', lmtpskip => 'lmtp_connection_cache_on_demand=no -o lmtp_skip_quit_response=yes',
    source => 'smtp_bind_address=127.0.0.5', nosource => 'smtp_bind_address=192.0.2.77', lmtpsource => 'lmtp_bind_address=127.0.0.6',
    enforced => 'smtp_bind_address=192.0.2.77 -o smtp_bind_address_enforce=yes',
    notkept => 'smtp_connection_cache_on_demand=no', lmtpnotkept => 'lmtp_connection_cache_on_demand=no',
    listed => 'smtp_connection_cache_on_demand=no -o smtp_connection_cache_destinations=' . $s->at('listed'),
);
my %at = ((map { ref $later{$_}[0] ? () : ($_ => $later{$_}[0]) } keys %later), postfix => '[127.0.0.1]:' . $postfix->port, lmtpsixth => '[::1]:' . $six{lmtp}->port,
    (map { $_ => '[::1]:' . $six{smtp}->port } qw(sixth nosixth enforcedsixth)), map { $_ => $s->at($_) } keys %server);
my $gp = Gatepost::Instance->new(main => {
    transport_maps => 'inline:{' . join(', ', '{post.test=smtp:[127.0.0.1]:' . $post->port . '}', map {"{$_.test=t$_:$at{$_}}"} sort keys %at) . '}', notify_classes => 'data',
    minimal_backoff_time => '600s', maximal_backoff_time => '600s', relayhost => '[127.0.0.1]:1', error_notice_recipient => 'errors@post.test', log_level => 'debug',
    default_delivery_status_filter => $default, backoff_plans => $plans,
    mydestination => 'here.test', local_transport => 'local', local_delivery_status_filter => 'regexp:'
        . spew("$dir/local", "/^5\\.1\\.1 (.*)\$/ 4.1.1 not yet: \$1\n"),
    smtpd_authorized_xforward_hosts => '127.0.0.0/8', smtp_connection_cache_time_limit => '20s', lmtp_connection_cache_time_limit => '20s',
}, master => [map {
    "t$_ unix - - n - - smtp-client" . (/^lmtp/ ? ' -l' : '') . ($with{$_} ? "\n  -o $with{$_}" : '')
} sort keys %at]);
$gp->start;
my $c = $gp->session;
sub command { $c->send("$_[0]\r\n"); return $c->reply }
is(command('XFORWARD NAME=far.example ADDR=192.0.2.44 PORT=4242 PROTO=ESMTP HELO=over+2Bthere')->{code}, 250, 'where mail is from');
is(command('XFORWARD IDENT=ORIGINAL SOURCE=REMOTE')->{code}, 250, 'and its id there');
my %line;
sub becomes {
    my ($name, $status, $text) = @_;
    $gp->mark;
    command('XFORWARD NAME=far.example ADDR=192.0.2.44 PORT=4242 PROTO=ESMTP HELO=over+2Bthere IDENT=ORIGINAL');
    is($c->mail('s@client.test', "u\@$name.test", "Subject: $name\r\n\r\nx\r\n")->{code}, 250, "$name: taken");
    $line{$name} = $gp->find_log(qr/to=<u\@$name\.test>, .*, status=/, 15) // '';
    like($line{$name}, qr/, status=$status \(/, "$name: $status");
    like($line{$name}, $text, "$name: text") if $text;
}

# XFORWARD.
becomes('forward', 'sent');
like($s->log('forward'), qr/^C: XFORWARD NAME=far\.example ADDR=192\.0\.2\.44 PORT=4242\nS: 250.*?\nC: XFORWARD PROTO=ESMTP HELO=over\+2Bthere IDENT=ORIGINAL SOURCE=(?:LOCAL|REMOTE)$/ms,
    'two commands') or diag $s->log('forward');
becomes('noforward', 'sent');
unlike($s->log('noforward'), qr/C: XFORWARD/, 'not without smtp_send_xforward_command');
becomes('badforward', 'sent');
ok($gp->find_log(qr/warning: host \S+ said: 550 5\.7\.0 not you \(in reply to XFORWARD command\)/), 'a refusal is no reason to wait');
becomes('someforward', 'sent');
like($s->log('someforward'), qr/^C: XFORWARD PROTO=ESMTP IDENT=ORIGINAL$/m, 'what the server wants alone');
unlike($s->log('someforward'), qr/NAME=/, 'no more');
becomes('lmtpforward', 'sent');
like($s->log('lmtpforward'), qr/^C: XFORWARD NAME=/m, 'LMTP');
becomes('postfix', 'sent');
ok(wait_until(10, sub { $postfix->log =~ /orig_queue_id=ORIGINAL, orig_client=far\.example\[192\.0\.2\.44\]/ }), 'Postfix understands it') or diag $postfix->log;

becomes($_, 'deferred', qr/dsn=4\.4\.2, .*\(conversation with \S+ timed out while sending XFORWARD\)/) for qw(slowforward lmtpslowforward);

# Replies.
becomes('replies', 'bounced', qr/dsn=5\.1\.1, .*said: 550 5\.1\.1 nobody \(in reply to RCPT/);
like($s->log('replies'), qr/C: MAIL.*\nS: nonsense\nC: RCPT/, 'a line that was no reply; no pipelining');
becomes('badfilter', 'deferred', qr/dsn=4\.3\.0, .*\(local data error while talking to 127\.0\.0\.1\[127\.0\.0\.1\]\)/);

# Results.
becomes('full', 'bounced', qr/dsn=5\.2\.2, .*mailbox is full/);
becomes('soft', 'deferred', qr/dsn=4\.7\.1, .*\(not so hard: host /);
becomes('well', 'sent', qr/dsn=2\.0\.9, .*\(well: 250 2\.0\.0 taken\)/);
becomes('bless', 'sent', qr/dsn=2\.0\.0, /);
ok($gp->find_log(qr/warning: smtp_delivery_status_filter: "5\.0\.0 cursed" would change whether mail was delivered/), 'what is sent is sent');
becomes('what', 'bounced', qr/dsn=5\.1\.2, /);
ok($gp->find_log(qr/warning: smtp_delivery_status_filter: "what\?" has no status code/), 'a result without a status');
becomes($_, 'bounced', qr/dsn=5\.2\.9, .*\(as a rule: host .*said: 452 4\.2\.9 no/) for qw(default lmtpdefault);
becomes('notdefault', 'deferred', qr/dsn=4\.2\.9, /);

is($c->mail('s@client.test', 'no.body.here@here.test', "x\r\n")->{code}, 250, 'local: taken');
$gp->wait_log(qr/local\[\d+\]: \w+: to=<no\.body\.here\@here\.test>, .*dsn=4\.1\.1, status=deferred \(not yet: unknown user/, 'local has one, too');

# Keywords.
becomes('discard', 'sent');
unlike($s->log('discard'), qr/BDAT/, 'smtp_discard_ehlo_keywords');
ok($gp->find_log(qr/smtp\[\d+\]: discarding EHLO keywords: pipelining, CHUNKING$/), 'and the log says so');
becomes('quiet', 'sent');
unlike($s->log('quiet'), qr/BDAT/, 'silently');
ok(!$gp->log_lines(qr/discarding EHLO keywords/), 'not in the log');
becomes('discardmap', 'sent');
unlike($s->log('discardmap'), qr/BDAT/, 'by address');
becomes('lmtpdiscard', 'sent');
unlike($s->log('lmtpdiscard'), qr/BDAT/, 'LMTP');

# A PIX.
sub sending { my ($name) = @_; return $line{$name} =~ m{delays=[^/]*/[^/]*/[^/]*/([\d.]+),} ? $1 : -1 }
becomes('pix', 'sent');
ok($gp->find_log(qr/\w+: enabling PIX workarounds: disable_esmtp, delay_dotcrlf for 127\.0\.0\.1\[127\.0\.0\.1\]:\d+$/), 'a PIX is known');
like($s->log('pix'), qr/C: HELO/, 'no ESMTP');
cmp_ok(sending('pix'), '>=', 0.9, 'the dot is late');
becomes('newpix', 'sent');
like($s->log('newpix'), qr/C: EHLO/, 'new mail goes as to others');
becomes('pixmap', 'sent');
like($s->log('pixmap'), qr/C: EHLO/, 'what the table says');
cmp_ok(sending('pixmap'), '>=', 0.9, 'and no more');
becomes('nopix', 'sent');
like($s->log('nopix'), qr/C: EHLO/, 'no PIX');
becomes('pixfail', 'deferred', qr/dsn=4\.3\.0, .*local data error/);

# QUIT.
becomes($_, 'sent') for qw(quit skip lmtpquit lmtpskip);
for (['quit', 'waits'], ['skip', 'gone'], ['lmtpquit', 'waits'], ['lmtpskip', 'gone']) {
    my ($name, $want) = @$_;
    ok(wait_until(20, sub { $s->log($name) =~ /^(?:gone|waits)$/m }) && $s->log($name) =~ /^$want$/m, "$name: the client $want") or diag $s->log($name);
}

becomes($_, 'sent') for qw(slowquit lmtpslowquit);
ok(wait_until(20, sub { $s->log($_) =~ /^left$/m }), "$_: the client does not wait for ever") or diag $s->log($_) for qw(slowquit lmtpslowquit);

# The source address.
becomes('source', 'sent');
like($s->log('source'), qr/^from 127\.0\.0\.5$/m, 'smtp_bind_address');
becomes('nosource', 'sent');
ok($gp->find_log(qr/warning: smtp_connect_addr: bind 192\.0\.2\.77: Cannot assign requested address/), 'one that is not there: another');
becomes('enforced', 'deferred', qr/relay=none, .*dsn=4\.4\.0, .*\(server configuration error\)/);
becomes('lmtpsource', 'sent');
like($s->log('lmtpsource'), qr/^from 127\.0\.0\.6$/m, 'LMTP');
becomes('sixth', 'sent');
becomes('nosixth', 'sent');
ok($gp->find_log(qr/warning: smtp_connect_addr: bind 2001:db8::77: Cannot assign requested address/), 'smtp_bind_address6 that is not there');
becomes($_, 'deferred', qr/relay=none, .*dsn=4\.4\.0, .*\(server configuration error\)/) for qw(enforcedsixth lmtpsixth);

# Which connections are kept.
for (['kept', 1], ['notkept', 2], ['listed', 1], ['lmtpnotkept', 2]) {
    my ($name, $want) = @$_;
    becomes($name, 'sent') for 1 .. 2;
    is($s->connections($name), $want, "$name: connections");
}
# Plans of back-off.
becomes($_, $_ eq 'stdns' ? 'SOFTBOUNCE' : 'deferred') for sort keys %later;
my %due;
ok(wait_until(20, sub {
    %due = map { $_->{address} => $_->{next_attempt} } map { @{ decode_json($_)->{recipients} } } grep {/^\{/} split /\n/, ($gp->tool('gateq', 'list', '--json'))[1];
    return !grep { !$due{"u\@$_.test"} } keys %later;
}), 'all of them wait');
for my $name (sort keys %later) {
    my $left = ($due{"u\@$name.test"} // 0) - time;
    my $want = $later{$name}[1];
    ok($left <= $want && $left > $want - 200, "$name: tried again behind $want s") or diag "in $left s";
}

# Transcripts for the postmaster, of the class "data": sessions in which a table failed, no others.
my %told;
ok(wait_until(20, sub {
    %told = map { (/^Subject: Gatepost SMTP client: errors from 127\.0\.0\.1\[127\.0\.0\.1\]:(\d+)\r$/m)[0] // '?' => $_ } map { $_->{content} } $post->messages;
    return keys %told >= 2;
}), 'class data: transcripts');
is(join(' ', sort keys %told), join(' ', sort map { $s->port($_) } qw(badfilter pixfail)), 'of the sessions with tables that fail');
like($told{ $s->port('pixfail') } // '', qr/^ In:  220 \*+02\*\*0\*\*+\r$/m, 'with what was said');

unlike(slurp($gp->{log}), qr/panic|fatal/, 'nothing broke');
done_testing;
